//! The crate's error type: one variant for each stage of a service's life.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use axum_chassis_server::BindError;

pub(crate) use crate::logs::Chain;

/// The error that ended a service or one of its commands, or prevented its start.
///
/// Its `Display` is one line that names the stage; the cause is its `source`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The settings are invalid; nothing has been started.
    Settings(Box<dyn std::error::Error + Send + Sync>),
    /// The log could not be set up.
    Logs(Box<dyn std::error::Error + Send + Sync>),
    /// The operating system refused a thread, a runtime or a signal handler.
    Runtime(std::io::Error),
    /// A metric's name is invalid or taken.
    Metrics(Box<dyn std::error::Error + Send + Sync>),
    /// A listener's address could not be bound.
    Bind {
        /// The name of the listener: `main` or `admin`.
        listener: &'static str,
        /// The address as it was configured.
        address: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The service's own start failed.
    Start(anyhow::Error),
    /// The service's own start took longer than `service.start_timeout`.
    StartTimeout(Duration),
    /// During the start, the service requested its own shutdown, for this reason. Only a test gets this error: a
    /// process shuts down gracefully instead.
    Stopped(String),
    /// A command failed.
    Command(anyhow::Error),
}

impl Error {
    /// The exit code of a process that ends with this error: 78 for invalid settings, as in `sysexits.h`, and 1 for all
    /// other errors.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(78),
            _ => ExitCode::FAILURE,
        }
    }

    /// The error of the listener with this name.
    pub(crate) fn bind(listener: &'static str) -> impl FnOnce(BindError) -> Self {
        move |BindError {
                  address, source, ..
              }| Self::Bind {
            listener,
            address,
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(_) => f.write_str("invalid settings"),
            Self::Logs(_) => f.write_str("cannot set up logging"),
            Self::Runtime(_) => f.write_str("cannot set up the runtime"),
            Self::Metrics(_) => f.write_str("cannot register a metric"),
            Self::Bind {
                listener, address, ..
            } => {
                write!(f, "cannot bind the {listener} listener to {address}")
            }
            Self::Start(_) => f.write_str("the service's start failed"),
            Self::StartTimeout(limit) => write!(
                f,
                "the service's start took longer than service.start_timeout ({limit:?})"
            ),
            Self::Stopped(reason) => write!(f, "the service stopped during its start: {reason}"),
            Self::Command(_) => f.write_str("the command failed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Settings(source) | Self::Logs(source) | Self::Metrics(source) => {
                Some(source.as_ref())
            }
            Self::Runtime(source) | Self::Bind { source, .. } => Some(source),
            Self::Start(source) | Self::Command(source) => Some(source.as_ref()),
            Self::StartTimeout(_) | Self::Stopped(_) => None,
        }
    }
}

/// Converts an error and its causes to text within the task that failed. `Display` may panic, so it must not be called
/// in another task later.
pub(crate) fn in_words(error: anyhow::Error) -> anyhow::Error {
    anyhow::Error::msg(Chain(error.as_ref()).to_string())
}
