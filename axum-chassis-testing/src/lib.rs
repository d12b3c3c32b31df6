//! A test kit for services on [`axum_chassis`], for `[dev-dependencies]`. A test runs the service's real binary, from
//! its start to its exit code.
//!
//! ```no_run
//! # macro_rules! env { ($name:literal) => { "orders" } }
//! use axum_chassis_testing::Program;
//!
//! // In a `#[test]`:
//! let service = Program::new(env!("CARGO_BIN_EXE_orders"))
//!     .set("store.capacity", 1)
//!     .start();
//!
//! let order = |reference| format!(r#"{{"reference":"{reference}","item":"tea","quantity":2}}"#);
//! assert_eq!(service.post("/orders", order("A-1")).status, 201);
//! assert_eq!(service.post("/orders", order("A-2")).json()["title"], "Insufficient Storage");
//! assert!(service.admin().get("/metrics").text().contains("orders_created_total 1"));
//! let line = service.wait_for_line(|line| line["status"] == 507);
//! assert_eq!(line["route"], "/orders");
//!
//! let ended = service.stop();
//! assert_eq!(ended.code, Some(0));
//! assert_eq!(ended.stopped()["aborted"], 0);
//!
//! // In another test: the binary validates its settings.
//! let ended = Program::new(env!("CARGO_BIN_EXE_orders"))
//!     .set("store.capacity", 0)
//!     .argument("--check-config")
//!     .output();
//! assert_eq!(ended.code, Some(78));
//! assert!(ended.stderr.contains("store.capacity"), "{}", ended.stderr);
//! ```
//!
//! - [`Program`] describes how to start the binary: settings, environment variables, arguments. Both listeners get free ports of
//!   this machine, so any number of tests can run in parallel.
//! - [`Process`] is the running process. A test sends requests to it, reads its log, and sends signals. Dropping it kills the
//!   process, so a failed test leaves no process behind. After a failure, the process's last output is in the test's output.
//! - [`Ended`] is the result: the exit code, the log, and the counts of the shutdown.
//! - [`SettingsTable`] is the table of the service's settings, for its README.
//!
//! All functions block. The kit does not sleep: it waits for lines of the log and for the end of the process, for at
//! most [`Program::timeout`]. On a timeout, the kit panics with the awaited event, the process's output so far, and its
//! exit code if it has ended.
//!
//! A unit test of the service's own start needs no process: see [`TestChassis`](axum_chassis::TestChassis).
//!
//! On systems other than Unix, this crate is empty, because it uses Unix processes and signals.

#![cfg(unix)]
#![forbid(unsafe_code)]
// As in axum-chassis: public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod listener;
mod output;
mod process;
mod settings_table;
mod subject;

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub use listener::{Listener, Response};
pub use process::{Ended, HeldOutput, Process};
pub use rustix::process::Signal;
pub use settings_table::SettingsTable;

/// The default timeout. It is longer than a service's own timeouts (`service.start_timeout`, `shutdown.deadline`),
/// because the service's own error is more useful.
const TIMEOUT: Duration = Duration::from_secs(70);

/// The developer's environment variables that a service would read, by name or prefix.
const NOT_INHERITED: [&str; 10] = [
    "APP_",
    "DATABASE_URL",
    "KUBERNETES_",
    "LISTEN_",
    "LOG_FORMAT",
    "OTEL_",
    "PORT",
    "REDIS_URL",
    "RUN_ENV",
    "RUST_LOG",
];

/// Objects to drop after the last process that needs them.
type Kept = Vec<Arc<dyn Any + Send + Sync>>;

/// Headers of every request to the main listener: names and values.
type Headers = Vec<(String, String)>;

/// Describes how to start a program.
///
/// The program inherits the environment variables of the test, except those of Kubernetes and those that set a
/// service's settings (`APP_*`, `RUN_ENV`, `PORT`, `RUST_LOG`, `LOG_FORMAT`, `DATABASE_URL`, `REDIS_URL`, `OTEL_*`).
/// Tests therefore behave the same on every machine. Configuration files are read from `config/` in the program's
/// [folder](Self::folder).
#[derive(Clone, Debug)]
#[must_use = "a program does nothing until it starts"]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    timeout: Duration,
    headers: Headers,
    kept: Kept,
}

impl Program {
    /// The program at this path, such as `env!("CARGO_BIN_EXE_orders")`. It listens on free ports of 127.0.0.1, and
    /// logs JSON at the level `info`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let program = Self {
            path: path.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            timeout: TIMEOUT,
            headers: Headers::default(),
            kept: Kept::default(),
        };
        program
            .variable("LOG_FORMAT", "json")
            .variable("RUST_LOG", "info")
            // In a test, no proxy has to notice the shutdown.
            .set("shutdown.delay", "0s")
            .set("server.host", "127.0.0.1")
            .set("server.port", 0)
            .set("admin.host", "127.0.0.1")
            .set("admin.port", 0)
    }

    /// Sets a key of the settings, such as `store.capacity`, with its environment variable `APP__STORE__CAPACITY`.
    pub fn set(self, key: &str, value: impl ToString) -> Self {
        let name = format!("APP__{}", key.to_uppercase().replace('.', "__"));
        self.variable(name, value.to_string())
    }

    /// Sets or overrides an environment variable. The chassis treats an empty one as unset.
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Adds an argument: a command, or a flag such as `--check-config`.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    pub fn arguments<I: IntoIterator<Item: Into<OsString>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets the working directory, which contains `config/`. The default is the working directory of the test, which is
    /// the folder of its package.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The timeout of each wait. The default is 70 s, a little longer than `service.start_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends this header with each request to the main listener, for example a token in `authorization`. Requests that
    /// have a header with this name are sent as they are.
    ///
    /// The admin listener does not get the header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Keeps a value until the process has ended, such as the guard of a temporary folder or database, which deletes it
    /// when dropped.
    pub fn keep(mut self, thing: impl Any + Send + Sync) -> Self {
        self.kept.push(Arc::new(thing));
        self
    }

    /// Starts the program, and waits until it is ready.
    ///
    /// # Panics
    /// If the program cannot be started, ends, or does not become ready. The message then has the state of its
    /// readiness checks.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Process {
        let process = self.launch();
        process.wait_until_ready();
        process
    }

    /// Starts the program without waiting until it is ready, to observe the start.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn launch(self) -> Process {
        let spawned = self.command().spawn();
        let child =
            spawned.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()));
        Process::watch(self.name(), child, self.timeout, self.headers, self.kept)
    }

    /// Runs the program until it ends, for commands and for flags such as `--print-config`.
    ///
    /// # Panics
    /// If the program cannot be started, or does not end.
    #[must_use]
    #[track_caller]
    pub fn output(self) -> Ended {
        self.launch().wait()
    }

    fn name(&self) -> String {
        let name = self.path.file_name().map(Path::new);
        name.unwrap_or(&self.path).display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_left_out(name)) {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

fn is_left_out(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy().to_ascii_uppercase();
    NOT_INHERITED
        .iter()
        .any(|known| name == *known || known.ends_with('_') && name.starts_with(known))
}
