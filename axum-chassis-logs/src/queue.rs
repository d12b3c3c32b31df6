//! The bounded queue of bytes between the threads that log and the thread that writes.
//!
//! Two buffers take turns: one is filled while the other is written, and their sum is bounded. A thread that logs holds
//! the lock only while it copies its line. It wakes the writer only if the queue was empty. The writer then waits for a
//! moment, so that a busy service needs neither a wake-up nor a write for each line.
//!
//! Locks and threads come from the parent module: tests/models compiles this file with loom's locks and threads, which
//! test every interleaving.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing::Level;

use super::sync::{Condvar, Mutex, MutexGuard};

/// The longest time a line waits for others to be written with it.
const LINGER: Duration = Duration::from_millis(5);

pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes callers of `flush` after a write.
    written: Condvar,
}

#[derive(Default)]
struct QueueState {
    bound: usize,
    /// Lines that wait.
    bytes: Vec<u8>,
    /// The number of bytes that the writer is writing.
    in_flight: usize,
    /// The number of bytes ever queued. `done` is the number of those that the writer has finished.
    queued: u64,
    done: u64,
    /// The number of lines ever produced, per level, including dropped ones.
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
            state: Mutex::new(QueueState {
                bound,
                ..QueueState::default()
            }),
            work: Condvar::new(),
            written: Condvar::new(),
        }
    }

    /// Queues a line with its line end, or counts it as dropped. Never waits for the output.
    pub(super) fn push(&self, level: Level, line: &[u8]) {
        let mut state = self.lock();
        state.lines[index(level)] += 1;
        let waiting = state.bytes.len() + state.in_flight;
        if state.closed || waiting + line.len() > state.bound {
            state.dropped += 1;
            state.unreported += 1;
            return;
        }
        state.bytes.extend_from_slice(line);
        state.queued += line.len() as u64;
        let half_full = state.bytes.len() > state.bound / 2;
        let wake = state.idle || (half_full && !state.hurry);
        state.idle = false;
        state.hurry |= half_full;
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until all lines that are in the queue now are written, but at most for `timeout`. Returns whether they
    /// were.
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

    /// The number of lines produced at `level`, including dropped ones.
    pub(super) fn lines(&self, level: Level) -> u64 {
        self.lock().lines[index(level)]
    }

    /// The number of lines that did not reach the output.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    pub(super) fn bound(&self) -> usize {
        self.lock().bound
    }

    /// Changes the bound, for new lines.
    pub(super) fn set_bound(&self, bound: usize) {
        self.lock().bound = bound;
    }

    /// Makes the writer end after it has written all queued lines.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// For the writer: waits for lines, and swaps them for the empty `batch`. Returns the number of lines that were
    /// dropped meanwhile, which the writer reports after the batch. `None` when no more lines will come.
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
        // The report is written like a line, but cannot be dropped.
        state.lines[index(Level::WARN)] += u64::from(state.reporting);
        Some(unreported)
    }

    /// For the writer: records that the batch is written, except for `lost` lines.
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
        // No code panics while it holds the lock. If it did, logging should still continue.
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
