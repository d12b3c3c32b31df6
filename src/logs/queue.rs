//! The bounded queue of bytes between the threads that log and the thread that writes.
//!
//! Two buffers take turns: one is filled while the other is written, and their sum is bounded. A
//! producer holds the lock for one copy of its line. It wakes the writer only when the queue was
//! empty; the writer then lingers for a moment, so that a busy service pays for neither a wake-up
//! nor a write for each line.
//!
//! Locks and threads come from the parent module: tests/models compiles this file with loom's, which test every
//! interleaving.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing::Level;

use super::sync::{Condvar, Mutex, MutexGuard};

/// The longest time a line waits for others to be written with it.
const LINGER: Duration = Duration::from_millis(5);

pub(super) struct LineQueue {
    bound: usize,
    state: Mutex<QueueState>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes callers of `flush` after a write.
    written: Condvar,
}

#[derive(Default)]
struct QueueState {
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
    /// Dropped lines that no written line has reported yet.
    unreported: u64,
    /// A line that reports dropped ones is being written.
    reporting: bool,
    /// The last write failed: reports wait until there is something else to write.
    failing: bool,
    idle: bool,
    hurry: bool,
    closed: bool,
}

// === impl LineQueue ===

impl LineQueue {
    /// A queue of up to `bound` bytes.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            state: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
        }
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

    /// Waits until everything queued now is written, at most for `timeout`; returns whether it was.
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

    /// For the writer: waits for lines, swaps them for the empty `batch`, and returns how many were
    /// dropped meanwhile, to be reported after them. `None` when there will be no more.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        while state.bytes.is_empty() && !state.owes_report() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state.hurry = false;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        while !(state.hurry || state.closed) {
            let (locked, waited) = self
                .work
                .wait_timeout(state, LINGER)
                .unwrap_or_else(PoisonError::into_inner);
            state = locked;
            if waited.timed_out() {
                break;
            }
        }
        state.hurry = false;
        std::mem::swap(&mut state.bytes, batch);
        state.in_flight = batch.len();
        let unreported = std::mem::take(&mut state.unreported);
        state.reporting = unreported > 0;
        // It is written like a line, but cannot be dropped.
        state.lines[index(Level::WARN)] += u64::from(state.reporting);
        Some(unreported)
    }

    /// For the writer: the batch is written, except for this many lines.
    pub(super) fn settle(&self, lost: u64) {
        let mut state = self.lock();
        state.dropped += lost;
        state.unreported += lost;
        state.failing = lost > 0;
        state.reporting = false;
        state.done += state.in_flight as u64;
        state.in_flight = 0;
        drop(state);
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing panics while it holds the lock; and if it did, logs should go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl QueueState ===

impl QueueState {
    fn owes_report(&self) -> bool {
        (self.unreported > 0 || self.reporting) && !self.failing
    }
}

fn index(level: Level) -> usize {
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
    let index = levels.iter().position(|known| *known == level);
    index.unwrap_or(levels.len())
}
