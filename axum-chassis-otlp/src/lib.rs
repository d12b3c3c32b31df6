//! Exports traces, metrics and logs of a service on [`axum_chassis`] with OpenTelemetry's protocol (OTLP). A trace
//! contains the service's requests and the `tracing` spans of its handlers. The metrics are those of `/metrics`, and the
//! log records are the lines of the log.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, routing::get};
//! use axum_chassis::Service;
//! use axum_chassis_otlp::Otlp;
//!
//! fn main() -> ExitCode {
//!     Service::<()>::new("orders", env!("CARGO_PKG_VERSION"))
//!         .export(Otlp::from_env)
//!         .run(async |_| Ok(Router::new().route("/", get("hello"))))
//! }
//! ```
//!
//! Nothing is exported unless `OTEL_EXPORTER_OTLP_ENDPOINT` is the URL of a collector, such as `http://collector:4318`.
//! docs/traces.md in the repository lists the environment variables and the exported data.
//!
//! A request's span is created at the end of the request, from data that the service collects anyway. Only the IDs of
//! the span are needed earlier, because it is the parent of other spans.

#![forbid(unsafe_code)]
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod client;
mod convert;
mod exporting;
mod log_record;
mod logs_export;
mod metrics_export;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod otlp;
mod parent;
mod queue;
mod reader;
mod resource;
mod sampling;
mod span;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod variables;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum_chassis::request::RequestObserver;
use axum_chassis::{Chassis, Error, Exporter};
use tracing_subscriber::layer::{Identity, Layer};
use tracing_subscriber::registry::Registry;

use self::exporting::Exporting;
pub use self::logs_export::LogsExport;
pub use self::metrics_export::MetricsExport;
pub use self::otlp::Otlp;
use self::span::RequestSpans;

/// The export of this process's traces. Cheap to clone; clones share their state.
///
/// [`Otlp`] contains it. To export only traces, a [`Service`](axum_chassis::Service) has the line `.export(Traces::from_env)`. A program with its own `main`
/// passes this value to the log and to the [`Server`](axum_chassis::Server):
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use axum_chassis::{ChassisSettings, Server, logs};
/// use axum_chassis_otlp::Traces;
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     let settings = ChassisSettings::default();
///     let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
///     let traces = Traces::from_env(name, version)?;
///     let logs = logs::install_with_layer(&settings.logs, traces.layer())?;
///     let server = Server::new(name, version).settings(settings).logs(&logs).export(traces).bind()?;
///     let routes = Router::new().route("/", get("hello")).layer(server.request_layer());
///     server.serve(routes).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Traces(Option<Arc<Exporting>>);

/// The numbers of spans so far, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Accepted by the collector.
    pub exported: u64,
    /// Dropped because the queue was full.
    pub no_room: u64,
    /// Lost because the collector did not accept them.
    pub refused: u64,
}

impl Traces {
    /// Starts the export that OpenTelemetry's environment variables configure, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    /// Without an endpoint, nothing is exported. `name` and `version` are the defaults of the service's resource
    /// attributes.
    ///
    /// The exporting thread connects to the collector when it has spans to export.
    ///
    /// # Errors
    /// [`Error::Settings`] with one line for each invalid variable, and [`Error::Runtime`] if the operating system
    /// refuses the thread.
    pub fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        let variables = variables::traces(&|name| std::env::var_os(name))
            .map_err(|invalid| Error::Settings(invalid.into()))?;
        let exporting = variables.map(|variables| Exporting::start(variables, name, version));
        let exporting = exporting.transpose().map_err(Error::Runtime)?;
        Ok(Self(exporting.map(Arc::new)))
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The `tracing` layer that exports spans, for [`logs::install_with_layer`](axum_chassis::logs::install_with_layer).
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        match &self.0 {
            Some(exporting) => Box::new(parent::within_requests(exporting.layer())),
            None => Box::new(Identity::new()),
        }
    }

    /// The observer that exports a span for each request, for
    /// [`RequestLayer::observe`](axum_chassis::request::RequestLayer::observe) in a program without a
    /// [`Server`](axum_chassis::Server).
    pub fn observer(&self) -> impl RequestObserver + use<> {
        RequestSpans(self.0.clone())
    }

    /// The numbers of exported and lost spans, for metrics.
    pub fn counts(&self) -> Counts {
        let exporting = self.0.as_ref();
        exporting.map_or_else(Counts::default, |exporting| exporting.spans.counts())
    }

    /// Exports the remaining spans, for at most `within`. After that, nothing is exported any more. If some spans could
    /// not be exported in time, this is logged. A `Service` and a `Server` call this at the end of their shutdown.
    ///
    /// # Panics
    /// Outside of a tokio runtime with enabled timers.
    pub async fn flush(&self, within: Duration) {
        if let Some(exporting) = &self.0 {
            exporting.flush(within).await;
        }
    }
}

impl Exporter for Traces {
    fn is_on(&self) -> bool {
        self.is_on()
    }

    fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        self.layer()
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        let Some(exporting) = &self.0 else {
            return Ok(());
        };
        exporting.announce();
        chassis.observe(self.observer());
        let metrics = chassis.metrics();
        let read = |count: fn(Counts) -> u64| {
            let spans = exporting.spans.clone();
            move || count(spans.counts()) as f64
        };
        metrics.counter_fn(
            "trace_spans_exported_total",
            "Spans that the collector accepted.",
            &[],
            read(|counts| counts.exported),
        )?;
        let name = "trace_spans_dropped_total";
        let help =
            "Spans that were lost: no room in the queue, or the collector did not accept them.";
        let no_room = read(|counts| counts.no_room);
        metrics.counter_fn(name, help, &[("reason", "no_room")], no_room)?;
        let refused = read(|counts| counts.refused);
        metrics.counter_fn(name, help, &[("reason", "refused")], refused)?;
        Ok(())
    }

    async fn flush(&self, within: Duration) {
        self.flush(within).await;
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}
