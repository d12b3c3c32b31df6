//! The destination of log lines.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// The destination of log lines.
pub struct Output {
    pub(super) write: Box<dyn Write + Send>,
    pub(super) terminal: bool,
    pub(super) colours: bool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

// === impl Output ===

impl Output {
    /// The process's standard output, with colours if it is a terminal and `NO_COLOR` is not set.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            write: unbuffered(stdout),
            terminal,
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Any other writer.
    pub fn to(write: impl Write + Send + 'static) -> Self {
        Self {
            write: Box::new(write),
            terminal: false,
            colours: false,
        }
    }

    /// Marks the output as a terminal, with or without colours.
    #[must_use]
    pub fn terminal(self, colours: bool) -> Self {
        Self {
            terminal: true,
            colours,
            ..self
        }
    }
}

/// Writes without the standard library's line buffer, which would only copy the complete batches once more.
fn unbuffered(stdout: io::Stdout) -> Box<dyn Write + Send> {
    #[cfg(unix)]
    if let Ok(descriptor) = std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned() {
        return Box::new(std::fs::File::from(descriptor));
    }
    Box::new(stdout)
}
