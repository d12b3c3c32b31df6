//! The program under test: its name and its output. A wait that fails panics here, with the output.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::output::ProcessOutput;

/// The process under test: its name and its output.
#[derive(Debug)]
pub(crate) struct Subject {
    name: String,
    pub(crate) output: ProcessOutput,
    /// Timeout of every wait.
    pub(crate) timeout: Duration,
    /// Whether a panic has already shown the output.
    shown: AtomicBool,
}

// === impl Subject ===

impl Subject {
    pub(crate) fn new(name: String, timeout: Duration) -> Self {
        Self {
            name,
            output: ProcessOutput::default(),
            timeout,
            shown: AtomicBool::new(false),
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Panics because an expected event did not happen in time, or cannot happen any more.
    #[track_caller]
    pub(crate) fn give_up(&self, what: &str) -> ! {
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
    pub(crate) fn fail(&self, problem: &str) -> ! {
        self.shown.store(true, Ordering::Relaxed);
        let (name, tail) = (&self.name, self.output.lock().tail());
        panic!("{name} {problem}\n{tail}");
    }

    /// Prints the output, unless a panic has already shown it.
    pub(crate) fn show(&self) {
        if !self.shown.load(Ordering::Relaxed) {
            eprintln!("{}: {}", self.name, self.output.lock().tail());
        }
    }
}
