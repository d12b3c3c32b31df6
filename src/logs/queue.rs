//! The bounded queue of bytes between those who log and the one thread that writes.
//!
//! Two buffers take turns: one is filled while the other is written, and their sum is bounded. A
//! producer holds the lock for one copy of its line. It wakes the writer only when the queue was
//! empty; the writer then lingers for a moment, so that a busy service pays for neither a wake-up
//! nor a write for each line.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

/// How long a line may wait for company.
const LINGER: Duration = Duration::from_millis(5);
/// What a buffer keeps for itself between bursts.
const KEEP: usize = 256 * 1024;

/// Writes the line that reports how many were dropped.
pub(super) type Report = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

pub(super) struct Queue {
    bound: usize,
    state: Mutex<State>,
    /// Tells the writer that there is something to do.
    work: Condvar,
    /// Tells those who wait for a flush that something was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    /// Lines that wait.
    bytes: Vec<u8>,
    /// Bytes the writer is writing.
    in_flight: usize,
    /// All bytes ever queued, and those the writer is done with.
    queued: u64,
    done: u64,
    /// Lines ever produced, per level: what was dropped is among them.
    lines: [u64; 5],
    dropped: u64,
    /// Of those dropped, the ones that no written line tells about.
    unreported: u64,
    /// Such a line is being written.
    reporting: bool,
    /// The last write failed: reports wait until there is something else to write.
    failing: bool,
    idle: bool,
    hurry: bool,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(
        output: Box<dyn Write + Send>,
        bound: usize,
        report: Report,
    ) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            bound,
            state: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
        });
        let writer = Writer {
            queue: queue.clone(),
            output,
            report,
            torn: false,
        };
        thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Queues a line with its line end, or counts it as dropped. Never waits for the output.
    pub(super) fn push(&self, level: Level, line: &[u8]) {
        let mut state = self.lock();
        state.lines[index(level)] += 1;
        let waiting = state.bytes.len() + state.in_flight;
        if state.closed || waiting + line.len() > self.bound {
            state.dropped += 1;
            state.unreported += 1;
            return;
        }
        state.bytes.extend_from_slice(line);
        state.queued += line.len() as u64;
        let half_full = state.bytes.len() > self.bound / 2;
        let wake = state.idle || (half_full && !state.hurry);
        state.idle = false;
        state.hurry |= half_full;
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until what is queued now is written, or for `timeout`; says which.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        let target = state.queued;
        while state.done < target || state.owes_report() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.hurry = true;
            self.work.notify_one();
            state = self
                .written
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Lines produced at `level`, those dropped included.
    pub(super) fn lines(&self, level: Level) -> u64 {
        self.lock().lines[index(level)]
    }

    /// Lines that were produced and did not reach the output.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Lets the writer finish what is queued and end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; and if it did, logs should go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn owes_report(&self) -> bool {
        (self.unreported > 0 || self.reporting) && !self.failing
    }
}

fn index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

struct Writer {
    queue: Arc<Queue>,
    output: Box<dyn Write + Send>,
    report: Report,
    /// The last write ended within a line.
    torn: bool,
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            let lost = self.write(&batch);
            let mut state = self.queue.lock();
            state.dropped += lost;
            state.unreported += lost;
            state.failing = lost > 0;
            state.reporting = false;
            state.done += state.in_flight as u64;
            state.in_flight = 0;
            drop(state);
            self.queue.written.notify_all();
            if batch.capacity() > KEEP && batch.len() < KEEP {
                batch.shrink_to(KEEP);
            }
            batch.clear();
        }
    }

    /// Waits for lines and swaps them for the empty `batch`; false when there will be none.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let queue = &self.queue;
        let mut state = queue.lock();
        while state.bytes.is_empty() && !state.owes_report() {
            if state.closed {
                return false;
            }
            state.idle = true;
            state.hurry = false;
            state = queue
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let deadline = Instant::now() + LINGER;
        while !(state.hurry || state.closed) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = queue
                .work
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.hurry = false;
        std::mem::swap(&mut state.bytes, batch);
        state.in_flight = batch.len();
        let unreported = std::mem::take(&mut state.unreported);
        state.reporting = unreported > 0;
        // A line like any other, though none that could be dropped.
        state.lines[index(Level::WARN)] += u64::from(state.reporting);
        drop(state);
        if unreported > 0 {
            (self.report)(unreported, batch);
        }
        true
    }

    /// Writes a batch, and returns how many of its lines were lost.
    fn write(&mut self, batch: &[u8]) -> u64 {
        let mut rest = batch;
        if self.torn && write_all(&mut self.output, &mut b"\n".as_slice()).is_err() {
            return line_ends(batch);
        }
        match write_all(&mut self.output, &mut rest) {
            Ok(()) => {
                self.torn = false;
                0
            }
            Err(_) => {
                let written = &batch[..batch.len() - rest.len()];
                self.torn = written.last().map_or(self.torn, |&last| last != b'\n');
                line_ends(rest)
            }
        }
    }
}

/// Like `Write::write_all`, but `rest` says what was left when it failed, and an output that
/// somebody made non-blocking is waited for.
fn write_all(output: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => *rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LINGER),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// An output that takes so many bytes, and fails until it gets a new allowance.
    struct Rationed {
        written: Arc<Mutex<Vec<u8>>>,
        allowance: Arc<Mutex<usize>>,
    }

    impl Write for Rationed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut allowance = self.allowance.lock().unwrap();
            if *allowance == 0 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let taken = bytes.len().min(*allowance);
            *allowance -= taken;
            self.written
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn report() -> Report {
        Box::new(|lines, out| writeln!(out, "dropped {lines}").unwrap())
    }

    #[test]
    fn a_line_that_was_torn_is_lost_and_the_next_one_is_whole() {
        let written = Arc::default();
        let allowance = Arc::new(Mutex::new(8));
        let output = Rationed {
            written: Arc::clone(&written),
            allowance: allowance.clone(),
        };
        let queue = Queue::start(Box::new(output), 1 << 20, report()).unwrap();
        queue.push(Level::INFO, b"first\n");
        assert!(queue.flush(SOON));
        queue.push(Level::INFO, b"second\n");
        assert!(queue.flush(SOON), "lost is also done with");
        assert_eq!(queue.dropped(), 1);
        *allowance.lock().unwrap() = 1000;
        queue.push(Level::ERROR, b"third\n");
        assert!(queue.flush(SOON));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "first\nse\nthird\ndropped 1\n");
        assert_eq!(queue.lines(Level::INFO), 2);
        assert_eq!(queue.lines(Level::ERROR), 1);
        assert_eq!(queue.lines(Level::WARN), 1, "the report is a line too");
    }

    /// An output that says when it is written to, and waits to be let go.
    struct Gated(mpsc::Sender<usize>, mpsc::Receiver<()>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.len());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_being_written_counts_towards_the_bound() {
        let (writes, written) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let queue = Queue::start(Box::new(Gated(writes, gate)), 10, report()).unwrap();
        queue.push(Level::INFO, b"12345\n");
        assert_eq!(written.recv_timeout(SOON), Ok(6));
        queue.push(Level::INFO, b"789\n");
        assert_eq!(queue.dropped(), 0, "ten bytes fit");
        queue.push(Level::INFO, b"\n");
        assert_eq!(queue.dropped(), 1);
        assert!(!queue.flush(Duration::from_millis(1)), "nobody reads");
        open.send(()).unwrap();
        assert_eq!(written.recv_timeout(SOON), Ok(4 + "dropped 1\n".len()));
        open.send(()).unwrap();
        assert!(queue.flush(SOON));
    }

    #[test]
    fn a_busy_moment_is_one_write() {
        let (writes, written) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let queue = Queue::start(Box::new(Gated(writes, gate)), 1 << 20, report()).unwrap();
        for _ in 0..3 {
            open.send(()).unwrap();
        }
        for _ in 0..1000 {
            queue.push(Level::INFO, b"line\n");
        }
        assert!(queue.flush(SOON));
        let sizes: Vec<usize> = written.try_iter().collect();
        assert_eq!(sizes.iter().sum::<usize>(), 5000);
        assert!(sizes.len() <= 3, "{sizes:?}");
    }

    #[test]
    fn the_thread_writes_what_is_queued_and_ends_with_its_owner() {
        let written = Arc::default();
        let output = Rationed {
            written: Arc::clone(&written),
            allowance: Arc::new(Mutex::new(1000)),
        };
        let queue = Queue::start(Box::new(output), 1 << 20, report()).unwrap();
        queue.push(Level::INFO, b"last\n");
        queue.close();
        let deadline = Instant::now() + SOON;
        // The thread's own handle goes when it ends.
        while Arc::strong_count(&queue) > 1 {
            assert!(Instant::now() < deadline, "the thread is still there");
            thread::yield_now();
        }
        assert_eq!(*written.lock().unwrap(), b"last\n");
    }
}
