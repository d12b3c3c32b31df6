//! Structured logs of a process, written by a dedicated thread, so that logging never waits for the output.
//!
//! [`install`] writes everything that goes through `tracing` or `log`, and panics, to the standard output: flat JSON for machines, text for
//! people. [`start`] writes to any other [`Output`].
//!
//! ```
//! # fn main() -> Result<(), axum_chassis_logs::SetupError> {
//! let logs = axum_chassis_logs::install(&axum_chassis_logs::Settings::default())?;
//! tracing::info!(orders = 7, "loaded"); // {"timestamp":"…","level":"INFO","target":"app","message":"loaded","orders":7}
//! logs.set_filter("info,sqlx=debug").expect("a valid filter");
//! # Ok(()) }
//! ```
//!
//! The thread that logs formats a line into a reused buffer, and copies the line into a bounded queue. Lines that do not fit into the queue
//! are dropped, counted, and reported when there is room again.
//!
//! In JSON each key occurs once. First come `timestamp`, `level`, `target` and `message`, then the event's fields, then those of its spans
//! (inner spans override outer ones). Lines of a request end with its `request_id`, `trace_id` and `span_id`. A field with the name of one
//! of these keys is written as `field.NAME`.
//!
//! # Requests
//!
//! [`trace`] has the IDs of the request that a task serves. [`Logs::access`] writes the access line of a request.
//!
//! ```
//! use std::time::Instant;
//!
//! use axum_chassis_logs::trace::{self, Ids};
//! use axum_chassis_logs::{FinishedRequest, Logs};
//! use http::{Request, Response, StatusCode};
//!
//! async fn serve(request: Request<()>, logs: &Logs) -> Response<()> {
//!     let begun = Instant::now();
//!     let ids = Ids::from_headers(request.headers());
//!     let response = trace::scope(ids.clone(), async {
//!         tracing::info!("has the IDs of the request");
//!         Response::new(())
//!     });
//!     let response = response.await;
//!     let path = request.uri().path();
//!     let finished = FinishedRequest::new(&ids, request.method(), path, response.status(), begun);
//!     logs.access(&finished, |fields| fields.text("tier", "gold"));
//!     response
//! }
//! ```

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod access;
mod bridge;
mod chain;
mod filter;
mod install;
mod layer;
mod line;
mod output;
mod panics;
mod queue;
mod reader;
mod recent;
mod record;
pub mod trace;
mod write;
mod writer;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{self, Arc};
use std::time::Duration;

use axum_chassis_settings::{Size, Validate, ValidationErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

#[doc(no_inline)]
pub use axum_chassis_settings as settings;

pub use self::access::{AccessFields, Integer};
pub use self::chain::Chain;
use self::filter::Filter;
pub use self::filter::{InvalidFilter, check as check_filter};
pub use self::install::{TracingLayer, install_with_layers};
use self::line::{Line, Style};
pub use self::output::Output;
use self::queue::LineQueue;
use self::reader::Copies;
pub use self::reader::LineReader;
use self::recent::Recent;
pub use self::record::FinishedRequest;

/// The section `logs` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The lines that are written: a level, and levels of targets, as in `info,sqlx=warn`.
    pub filter: String,
    /// `json` for machines, `text` for people, `auto` for text on a terminal and JSON elsewhere.
    pub format: Format,
    /// Whether to write an access line for each request.
    pub access: bool,
    /// The maximum size of all lines that wait for the output. Beyond it, lines are dropped.
    pub buffer: Size,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One flat JSON object per line.
    Json,
    /// For people.
    Text,
}

/// An error while logs are set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The filter in the settings cannot be read.
    Filter(InvalidFilter),
    /// The thread that writes could not be started.
    Thread(io::Error),
    /// Another subscriber or logger is installed in this process.
    Installed,
}

/// A handle to the logs of the process.
///
/// When the last handle is dropped, the lines that are still queued are written, and then the writer thread ends.
#[derive(Clone)]
pub struct Logs {
    shared: Arc<LogsState>,
}

struct LogsState {
    style: Style,
    access: bool,
    filter: Filter,
    queue: Arc<LineQueue>,
    copies: Arc<Copies>,
    recent: Recent,
    panics: AtomicU64,
    /// Whether records of the `log` crate go to these logs.
    is_installed: AtomicBool,
}

/// Makes this process log to its standard output: everything that goes through `tracing` or
/// `log`, and panics.
///
/// # Errors
///
/// If the filter cannot be read, the writer thread cannot be started, or another subscriber or logger is installed in this
/// process.
pub fn install(settings: &Settings) -> Result<Logs, SetupError> {
    install_with_layers(settings, None, Vec::new())
}

/// Like [`install`], with an additional `tracing` layer, such as one that exports spans. The layer receives the spans
/// and events that pass the log's filter. To add layers with filters of their own, use [`install_with_layers`].
///
/// # Errors
///
/// The same as [`install`].
pub fn install_with_layer(
    settings: &Settings,
    layer: impl Layer<Registry> + Send + Sync + 'static,
) -> Result<Logs, SetupError> {
    install_with_layers(settings, Some(layer.boxed()), Vec::new())
}

/// Starts logs that write to `output`, and does not install them for the process.
///
/// # Errors
///
/// If the filter cannot be read or the thread cannot be started.
pub fn start(settings: &Settings, output: Output) -> Result<Logs, SetupError> {
    let style = match settings.format {
        Format::Json => Style::Json,
        Format::Auto if !output.terminal => Style::Json,
        Format::Auto | Format::Text => Style::Text {
            colours: output.terminal && output.colours,
        },
    };
    let report = move |lines, out: &mut Vec<u8>| report_dropped(style, lines, out);
    let filter = Filter::new(&settings.filter).map_err(SetupError::Filter)?;
    let bound = usize::try_from(settings.buffer.bytes()).unwrap_or(usize::MAX);
    let copies = Arc::<Copies>::default();
    let queue = writer::start(output.write, bound, Box::new(report), copies.clone())
        .map_err(SetupError::Thread)?;
    Ok(Logs {
        shared: Arc::new(LogsState {
            style,
            access: settings.access,
            filter,
            queue,
            copies,
            recent: Recent::default(),
            panics: AtomicU64::new(0),
            is_installed: AtomicBool::new(false),
        }),
    })
}

/// A length of time for a field of a line, such as `duration_ms`: milliseconds, to the microsecond.
///
/// `as_secs_f64() * 1e3` would turn 0.782117 ms into `0.7821170000000001`.
///
/// ```
/// let took = std::time::Duration::from_nanos(782_117);
/// tracing::info!(duration_ms = axum_chassis_logs::milliseconds(took), "sent");
/// # assert_eq!(axum_chassis_logs::milliseconds(took), 0.782);
/// ```
pub fn milliseconds(duration: Duration) -> f64 {
    // This division returns the `f64` that is nearest to the decimal number, so its text is the shortest.
    duration.as_micros() as f64 / 1e3
}

fn report_dropped(style: Style, lines: u64, out: &mut Vec<u8>) {
    let mut line = Line::start(style, Level::WARN, module_path!());
    line.message("log lines dropped: the output is too slow");
    line.field("dropped", |out| write::integer(out, lines));
    line.finish(None, |line| out.extend_from_slice(line));
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: Format::Auto,
            access: true,
            buffer: Size::from_mib(4),
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if let Err(error) = check_filter(&self.filter) {
            errors.add("logs.filter", error.to_string());
        }
    }
}

// === impl Logs ===

impl Logs {
    /// The `tracing` subscriber that writes these logs, for tests and for programs with their own `main`.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry().with(layer::Lines(self.shared.clone()))
    }

    /// The layer that writes lines, for a `main` of your own with other layers:
    ///
    /// ```
    /// use axum_chassis_logs::{self as logs, Output};
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let logs = logs::start(&logs::Settings::default(), Output::stdout())?;
    /// let others = tracing_subscriber::layer::Identity::new(); // such as Sentry's
    /// let subscriber = tracing_subscriber::registry().with(logs.layer()).with(others);
    /// tracing::subscriber::set_global_default(subscriber)?;
    /// # Ok(()) }
    /// ```
    ///
    /// This layer has a filter of its own, which [`Logs::set_filter`] changes. It does not apply to other layers.
    /// Records of the `log` crate and panics are logged only with [`install`].
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let filter = layer::OwnFilter(self.shared.clone());
        layer::Lines(self.shared.clone()).with_filter(filter)
    }

    /// Applies another filter.
    ///
    /// # Errors
    ///
    /// If `filter` is invalid; the old filter stays in force.
    pub fn set_filter(&self, filter: &str) -> Result<(), InvalidFilter> {
        self.shared.filter.set(filter)?;
        tracing::callsite::rebuild_interest_cache();
        if self.shared.is_installed.load(Ordering::Relaxed) {
            bridge::set_max_level(self.shared.filter.max_level());
        }
        Ok(())
    }

    /// The filter in force.
    pub fn filter(&self) -> String {
        self.shared.filter.text()
    }

    /// Waits until all lines so far are written, but at most for `timeout`. Returns whether they were written.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.queue.flush(timeout)
    }

    /// A reader of all lines from now on, in JSON, for another output. `None` if the lines are text. While it exists, the
    /// lines that wait for it and those that wait for the output have half of `logs.buffer` each. Only one reader can
    /// exist at a time.
    pub fn reader(&self) -> Option<LineReader> {
        let is_json = self.shared.style == Style::Json;
        is_json.then(|| LineReader::new(self.shared.queue.clone(), self.shared.copies.clone()))
    }

    /// The number of lines that were produced at `level`, including dropped ones.
    pub fn lines(&self, level: Level) -> u64 {
        self.shared.queue.lines(level)
    }

    /// The number of lines that were produced and did not reach the output.
    pub fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// The number of panics in this process since [`install`].
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// The last warnings and errors as they are in the log, newest first: at most 200 lines and 128 KiB. The messages of panics are left
    /// out, because they may contain secrets.
    #[cfg(feature = "recent")]
    pub fn recent(&self) -> Vec<(Level, String)> {
        self.shared.recent.newest_first()
    }

    /// Whether access lines are written at present: `logs.access` is true, and the filter passes the target `access` at INFO.
    fn access_enabled(&self) -> bool {
        self.shared.access && self.shared.filter.wants_access()
    }

    /// Writes a line that no filter drops, such as the record of a change of the filter.
    pub fn always(
        &self,
        level: Level,
        target: &str,
        message: &str,
        fields: &[(&'static str, &dyn std::fmt::Display)],
    ) {
        line::build(
            self.shared.style,
            level,
            target,
            message,
            |line| {
                for (name, value) in fields {
                    line.field(name, |out| write::display(out, value));
                }
            },
            |line| self.shared.push(level, line),
        );
    }

    /// Writes the line of a request that has ended. `add` is called once, even if the line is not written.
    pub fn access(&self, request: &FinishedRequest<'_>, add: impl FnOnce(&mut AccessFields<'_>)) {
        if !self.access_enabled() {
            return add(&mut AccessFields::ignored());
        }
        let mut line = access::line(self.shared.style, request);
        add(&mut AccessFields::of(&mut line));
        line.finish(Some(request.ids), |line| {
            self.shared.queue.push(Level::INFO, line);
        });
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("filter", &self.filter())
            .finish_non_exhaustive()
    }
}

impl Drop for LogsState {
    fn drop(&mut self) {
        self.queue.close();
    }
}

// === impl SetupError ===

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(error) => error.fmt(f),
            Self::Thread(_) => f.write_str("cannot start the thread that writes logs"),
            Self::Installed => f.write_str("this process already has a subscriber or logger"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            Self::Filter(_) | Self::Installed => None,
        }
    }
}
