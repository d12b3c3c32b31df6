//! The crate's error type: one variant for each stage of a service's life.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// What ended a service or one of its commands, or kept it from starting.
///
/// Its `Display` is one line that names the stage; the cause is its `source`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The settings are wrong; nothing has been started.
    Settings(Box<dyn std::error::Error + Send + Sync>),
    /// The log could not be set up.
    Logs(Box<dyn std::error::Error + Send + Sync>),
    /// The operating system refused a thread, a runtime or a signal handler.
    Runtime(std::io::Error),
    /// A metric's name is not one, or is taken.
    Metrics(prometheus::Error),
    /// A listener's address could not be bound.
    Bind {
        /// Which listener: `main` or `admin`.
        listener: &'static str,
        /// The address as it was configured.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The service's own start failed.
    Start(anyhow::Error),
    /// The service's own start took longer than `service.start_timeout`.
    StartTimeout(Duration),
    /// A command failed.
    Command(anyhow::Error),
}

impl Error {
    /// The exit code a process ends with for this error, after `sysexits.h`:
    /// 78 for wrong settings, 1 for all else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(78),
            _ => ExitCode::FAILURE,
        }
    }

    pub(crate) fn bind(
        listener: &'static str,
        address: impl fmt::Display,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let address = address.to_string();
        move |source| Self::Bind {
            listener,
            address,
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(_) => f.write_str("the settings are wrong"),
            Self::Logs(_) => f.write_str("the log could not be set up"),
            Self::Runtime(_) => f.write_str("the runtime could not be set up"),
            Self::Metrics(_) => f.write_str("a metric could not be registered"),
            Self::Bind {
                listener, address, ..
            } => {
                write!(f, "the {listener} listener could not bind {address}")
            }
            Self::Start(_) => f.write_str("the service's own start failed"),
            Self::StartTimeout(limit) => write!(
                f,
                "the service's own start took longer than service.start_timeout ({limit:?})"
            ),
            Self::Command(_) => f.write_str("the command failed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(source) | Self::Logs(source) => Some(source.as_ref()),
            Self::Runtime(source) | Self::Bind { source, .. } => Some(source),
            Self::Metrics(source) => Some(source),
            Self::Start(source) | Self::Command(source) => Some(source.as_ref()),
            Self::StartTimeout(_) => None,
        }
    }
}

/// An error and its causes in one line, outermost first.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The error in words, with its causes: for who keeps it beyond the task that failed, since its own words
/// may panic.
pub(crate) fn in_words(error: anyhow::Error) -> anyhow::Error {
    anyhow::Error::msg(format!("{error:#}"))
}
