//! The program under test: its name, its output, and the panics of waits that fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::output::ProcessOutput;

/// A process: its name and its output.
#[derive(Debug)]
pub(super) struct Subject {
    name: String,
    pub(super) output: ProcessOutput,
    /// Timeout of every wait.
    pub(super) timeout: Duration,
    /// Whether a panic has shown its output.
    shown: AtomicBool,
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(name: String, timeout: Duration) -> Self {
        Self {
            name,
            output: ProcessOutput::default(),
            timeout,
            shown: AtomicBool::new(false),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Panics because an expected event did not happen in time, or cannot happen any more.
    #[track_caller]
    pub(super) fn give_up(&self, what: &str) -> ! {
        let state = self.output.lock();
        let why = if state.flooded {
            ": it printed more than a test can keep".to_owned()
        } else if state.is_over() {
            String::new()
        } else {
            format!(" within {:?}", self.timeout)
        };
        drop(state);
        self.fail(&format!("did not {what}{why}"));
    }

    /// Panics with the error and the output.
    #[track_caller]
    pub(super) fn fail(&self, problem: &str) -> ! {
        self.shown.store(true, Ordering::Relaxed);
        let (name, tail) = (&self.name, self.output.lock().tail());
        panic!("{name} {problem}\n{tail}");
    }

    /// Prints its output, unless a panic has done so.
    pub(super) fn show(&self) {
        if !self.shown.load(Ordering::Relaxed) {
            eprintln!("{}: {}", self.name, self.output.lock().tail());
        }
    }
}
