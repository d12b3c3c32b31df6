//! [`Otlp`], the export of all three signals.

use std::time::Duration;

use axum_chassis::logs::Logs;
use axum_chassis::{Chassis, Error, Exporter};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::Registry;

use crate::{LogsExport, MetricsExport, Traces};

/// The export of traces, metrics and logs of a [`Service`](axum_chassis::Service) or a
/// [`Server`](axum_chassis::Server). Cheap to clone; clones share their state.
///
/// `OTEL_EXPORTER_OTLP_ENDPOINT` turns on all three. `OTEL_TRACES_EXPORTER=none`, `OTEL_METRICS_EXPORTER=none` and
/// `OTEL_LOGS_EXPORTER=none` turn off one.
#[derive(Clone, Debug)]
pub struct Otlp {
    traces: Traces,
    metrics: MetricsExport,
    logs: LogsExport,
}

impl Otlp {
    /// Reads OpenTelemetry's environment variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Without an endpoint, nothing
    /// is exported. `name` and `version` are the defaults of the service's resource attributes.
    ///
    /// # Errors
    /// [`Error::Settings`] with one line for each invalid variable, and [`Error::Runtime`] if the operating system
    /// refuses a thread.
    pub fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        // Traces are the last, because their thread starts at once.
        let metrics = MetricsExport::from_env(name, version);
        let logs = LogsExport::from_env(name, version);
        let traces = Traces::from_env(name, version);
        match (traces, metrics, logs) {
            (Ok(traces), Ok(metrics), Ok(logs)) => Ok(Self {
                traces,
                metrics,
                logs,
            }),
            (traces, metrics, logs) => Err(all([traces.err(), metrics.err(), logs.err()])),
        }
    }
}

/// One error with the lines of all. A variable of several signals is in it once.
fn all(errors: [Option<Error>; 3]) -> Error {
    let mut lines: Vec<String> = Vec::new();
    for error in errors.into_iter().flatten() {
        let Error::Settings(fault) = error else {
            return error;
        };
        for line in fault.to_string().lines() {
            if !lines.iter().any(|known| known == line) {
                lines.push(line.to_owned());
            }
        }
    }
    Error::Settings(lines.join("\n").into())
}

impl Exporter for Otlp {
    fn is_on(&self) -> bool {
        self.traces.is_on() || self.metrics.is_on() || self.logs.is_on()
    }

    fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        self.traces.layer()
    }

    fn read(&self, logs: &Logs) -> anyhow::Result<()> {
        self.logs.read(logs)
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        self.traces.attach(chassis)?;
        self.metrics.attach(chassis)?;
        self.logs.attach(chassis)
    }

    async fn flush(&self, within: Duration) {
        tokio::join!(
            self.traces.flush(within),
            self.metrics.flush(within),
            self.logs.flush(within),
        );
    }

    fn end(&self, within: Duration) {
        self.logs.end(within);
    }
}
