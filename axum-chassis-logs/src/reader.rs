//! [`LineReader`], which receives a copy of the lines for another output, such as a collector.
//!
//! The copies share the memory limit of the log's queue: while there is a reader, each has half of it. So a slow reader
//! loses its own lines only.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::LineQueue;

/// The longest wait for lines that are in the log's queue, when the reader is in a hurry. The writer takes a few
/// milliseconds, unless the output accepts no bytes.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Receives a copy of each line that the log writes, as JSON with its line end. [`Logs::reader`](super::Logs::reader)
/// returns it. When it is dropped, the log's queue has all of its memory again.
///
/// ```
/// use std::time::Duration;
///
/// use axum_chassis_logs::{self as logs, Output};
///
/// # fn main() -> Result<(), logs::SetupError> {
/// let logs = logs::start(&logs::Settings::default(), Output::to(std::io::sink()))?;
/// let reader = logs.reader().expect("JSON");
/// tracing::subscriber::with_default(logs.subscriber(), || tracing::info!("loaded"));
/// reader.hurry();
/// let mut lines = Vec::new();
/// reader.take(&mut lines, Duration::from_secs(1));
/// assert!(lines.ends_with(b"\"message\":\"loaded\"}\n"));
/// # Ok(()) }
/// ```
pub struct LineReader {
    queue: Arc<LineQueue>,
    copies: Arc<Copies>,
    /// The limit of the log's queue without a reader, in bytes.
    whole: usize,
}

/// The lines that wait for the reader.
#[derive(Default)]
pub(super) struct Copies {
    state: Mutex<CopiesState>,
    /// Wakes the reader.
    work: Condvar,
}

#[derive(Default)]
struct CopiesState {
    /// The limit in bytes. It is 0 without a reader.
    room: usize,
    bytes: Vec<u8>,
    /// The number of bytes that the reader has and still uses.
    taken: usize,
    dropped: u64,
    hurry: bool,
}

// === impl LineReader ===

impl LineReader {
    pub(super) fn new(queue: Arc<LineQueue>, copies: Arc<Copies>) -> Self {
        let whole = queue.bound();
        queue.set_bound(whole - whole / 2);
        copies.lock().room = whole / 2;
        Self {
            queue,
            copies,
            whole,
        }
    }

    /// Waits for lines, for at most `longest`, or until the room for copies is half full, or until
    /// [`hurry`](Self::hurry). Replaces the content of `lines`, whose memory counts as used until the next call.
    pub fn take(&self, lines: &mut Vec<u8>, longest: Duration) {
        let deadline = Instant::now() + longest;
        lines.clear();
        let mut state = self.copies.lock();
        state.taken = 0;
        while !state.hurry && state.bytes.len() <= state.room / 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.copies.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if std::mem::take(&mut state.hurry) {
            drop(state);
            self.queue.flush(LAST_LINES);
            state = self.copies.lock();
        }
        std::mem::swap(&mut state.bytes, lines);
        state.taken = lines.len();
    }

    /// Makes the current call of [`take`](Self::take), or else the next one, return all lines so far at once.
    pub fn hurry(&self) {
        self.copies.lock().hurry = true;
        self.copies.work.notify_one();
    }

    /// The number of lines that were dropped, because there was no room for their copies.
    pub fn dropped(&self) -> u64 {
        self.copies.lock().dropped
    }
}

impl Drop for LineReader {
    fn drop(&mut self) {
        *self.copies.lock() = CopiesState::default();
        self.queue.set_bound(self.whole);
    }
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

// === impl Copies ===

impl Copies {
    /// For the writer: copies the lines that have room.
    pub(super) fn add(&self, batch: &[u8]) {
        let mut state = self.lock();
        if state.room == 0 {
            return;
        }
        let free = state.room.saturating_sub(state.bytes.len() + state.taken);
        let fitting = match batch.get(..free) {
            Some(start) => start
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1),
            None => batch.len(),
        };
        let (fitting, rest) = batch.split_at(fitting);
        state.bytes.extend_from_slice(fitting);
        state.dropped += rest.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if state.bytes.len() > state.room / 2 {
            drop(state);
            self.work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, CopiesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn reader(bound: usize) -> LineReader {
        LineReader::new(Arc::new(LineQueue::new(bound)), Arc::default())
    }

    fn taken(reader: &LineReader) -> String {
        let mut lines = Vec::new();
        reader.take(&mut lines, Duration::ZERO);
        String::from_utf8(lines).expect("UTF-8")
    }

    #[test]
    fn copies_and_queued_lines_together_stay_within_the_limit_and_copies_are_whole_lines() {
        let reader = reader(20);
        for _ in 0..3 {
            reader.queue.push(Level::INFO, b"1234\n");
        }
        assert_eq!(reader.queue.dropped(), 1, "half of the limit is ten bytes");
        reader.copies.add(b"1234\n123\n12\n");
        assert_eq!(reader.dropped(), 1);
        assert_eq!(taken(&reader), "1234\n123\n");
        reader.copies.add(b"1\n");
        assert_eq!(reader.dropped(), 2, "the reader still uses nine bytes");
        assert_eq!(taken(&reader), "");
        reader.copies.add(b"1\n");
        assert_eq!(taken(&reader), "1\n");
    }

    #[test]
    fn without_the_reader_the_queue_has_all_of_its_memory_and_nothing_is_copied() {
        let reader = reader(20);
        let (queue, copies) = (reader.queue.clone(), reader.copies.clone());
        drop(reader);
        for _ in 0..4 {
            queue.push(Level::INFO, b"1234\n");
        }
        assert_eq!(queue.dropped(), 0);
        copies.add(b"1234\n");
        assert!(copies.lock().bytes.is_empty());
    }
}
