//! [`Exporter`], which sends telemetry of a service to another system, from the service's start to its shutdown.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Identity, Layer};

use super::chassis::Chassis;
use crate::chassis_settings::{self, LoadedSettings};
use crate::error::Error;
use crate::logs::{Logs, TracingLayer};
use crate::settings::{SettingsSchema, Sources};
use crate::shared::Build;

/// Sends telemetry to another system, as the crate `axum-chassis-otlp` does with traces.
///
/// [`Service::export`](crate::Service::export) adds an exporter to a service, and
/// [`Server::export`](crate::Server::export) to a program with its own `main`. The functions of an exporter are called
/// in the order in which they are listed here.
///
/// ```
/// use std::time::Duration;
///
/// use axum_chassis::{Chassis, Error, Exporter, Service};
/// use tracing_subscriber::{Layer, Registry};
///
/// struct Spans {
///     collector: Option<String>,
/// }
///
/// impl Spans {
///     fn from_env(_name: &'static str, _version: &'static str) -> Result<Self, Error> {
///         match std::env::var("COLLECTOR") {
///             Ok(url) if !url.starts_with("http://") => Err(Error::Settings(
///                 format!("environment variable COLLECTOR: invalid value {url:?}, expected http://HOST").into(),
///             )),
///             url => Ok(Self { collector: url.ok() }),
///         }
///     }
/// }
///
/// impl Exporter for Spans {
///     fn is_on(&self) -> bool {
///         self.collector.is_some()
///     }
///
///     fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
/// # let layer = tracing_subscriber::layer::Identity::new();
///         Box::new(layer) // a layer that queues spans
///     }
///
///     fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
/// # let sent = || 0;
///         let help = "Spans that the collector accepted.";
///         chassis.metrics().counter_fn("spans_sent_total", help, &[], move || sent() as f64)?;
///         Ok(())
///     }
///
///     async fn flush(&self, _within: Duration) {
///         // Sends the queued spans.
///     }
/// }
///
/// let service = Service::<()>::new("orders", "1.0.0").export(Spans::from_env);
/// ```
pub trait Exporter: Send + Sync + 'static {
    /// Whether the exporter is enabled by its configuration. If not, the other functions are not called.
    fn is_on(&self) -> bool;

    /// The `tracing` layer, which receives the spans and events that pass the log's filter. At this call, the log does
    /// not exist yet. By default, the layer does nothing.
    fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        Box::new(Identity::new())
    }

    /// Receives the log of the process, before its first line. In a program with its own `main`, this is the log that is
    /// passed to [`Server::logs`](crate::Server::logs); without it, this is not called. [`Logs::reader`] returns the
    /// lines. By default, the log is not used.
    ///
    /// # Errors
    /// The start fails with the returned error.
    fn read(&self, logs: &Logs) -> anyhow::Result<()> {
        let _ = logs;
        Ok(())
    }

    /// Adds observers of requests, metrics and background tasks, before the service's own start. At this call, the log
    /// exists.
    ///
    /// # Errors
    /// The start fails with the returned error.
    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()>;

    /// Sends all remaining data at the end of the shutdown, after the last request, the background tasks and the hooks.
    /// It runs on the thread of the admin port, so it must not block. It has to complete within `within`, which is at
    /// most `shutdown.hook_timeout`. Shortly after that time, the future is dropped. Exporters are flushed concurrently.
    fn flush(&self, within: Duration) -> impl Future<Output = ()> + Send;

    /// Sends the log's last lines, which a `Service` logs after `flush`. It may block, for at most `within`. By default,
    /// nothing is sent. A `Server` does not call it, because it does not end the process.
    fn end(&self, within: Duration) {
        let _ = within;
    }
}

/// An [`Exporter`] as a trait object.
trait AnyExporter: Send + Sync {
    fn layer(&self) -> TracingLayer;
    fn read(&self, logs: &Logs) -> anyhow::Result<()>;
    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()>;
    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    fn end(&self, within: Duration);
}

impl<E: Exporter> AnyExporter for E {
    fn layer(&self) -> TracingLayer {
        Exporter::layer(self)
    }

    fn read(&self, logs: &Logs) -> anyhow::Result<()> {
        Exporter::read(self, logs)
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        Exporter::attach(self, chassis)
    }

    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Exporter::flush(self, within))
    }

    fn end(&self, within: Duration) {
        Exporter::end(self, within);
    }
}

/// The additional time after `within` in which an exporter may log that it could not send everything.
const GRACE: Duration = Duration::from_millis(50);

/// The enabled exporters. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Exporters(Vec<Arc<dyn AnyExporter>>);

// === impl Exporters ===

impl Exporters {
    pub(super) fn add(&mut self, exporter: impl Exporter) {
        if exporter.is_on() {
            self.0.push(Arc::new(exporter));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn layer(&self) -> Option<TracingLayer> {
        let layers = self.0.iter().map(|exporter| exporter.layer());
        layers.reduce(|all, layer| all.and_then(layer).boxed())
    }

    pub(super) fn read(&self, logs: &Logs) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|exporter| exporter.read(logs))
    }

    pub(super) fn end(&self, within: Duration) {
        for exporter in &self.0 {
            exporter.end(within);
        }
    }

    pub(super) fn attach<S>(&self, chassis: &Chassis<S>) -> anyhow::Result<()> {
        let chassis = Chassis::without_settings(
            chassis.shared.clone(),
            chassis.chassis_settings.clone(),
            chassis.retry_limit,
        );
        self.0
            .iter()
            .try_for_each(|exporter| exporter.attach(&chassis))
    }

    /// Flushes the exporters concurrently, each within `within`, so one that hangs takes no time from the others. The
    /// last counts of an exporter may therefore be missing in the final metrics of another one.
    pub(super) async fn flush(&self, within: Duration) {
        let mut flushes = JoinSet::new();
        for exporter in &self.0 {
            let exporter = exporter.clone();
            flushes.spawn(async move {
                let _ = tokio::time::timeout(within + GRACE, exporter.flush(within)).await;
            });
        }
        // The panic hook logs a panic of an exporter. It does not affect the other ones.
        while flushes.join_next().await.is_some() {}
    }
}

/// Reads an exporter's configuration and adds the exporter.
type Load = dyn Fn(&Build, &mut Exporters) -> Result<(), Error>;

/// The exporters and `tracing` layers that were added to a [`Service`](crate::Service), before its settings are loaded.
#[derive(Default)]
pub(super) struct Telemetry {
    exporters: Vec<Box<Load>>,
    pub(super) layers: Vec<TracingLayer>,
}

// === impl Telemetry ===

impl Telemetry {
    pub(super) fn export<E: Exporter>(
        &mut self,
        load: impl Fn(&'static str, &'static str) -> Result<E, Error> + 'static,
    ) {
        self.exporters.push(Box::new(move |build, exporters| {
            exporters.add(load(build.name, build.version)?);
            Ok(())
        }));
    }

    /// Loads the settings and the exporters. All errors are reported at once.
    pub(super) fn load<S: SettingsSchema>(
        &self,
        build: &Build,
        sources: &Sources,
    ) -> Result<(LoadedSettings<S>, Exporters), Error> {
        let loaded = chassis_settings::load::<S>(sources);
        let mut exporters = Exporters::default();
        let results = self
            .exporters
            .iter()
            .map(|load| load(build, &mut exporters));
        let mut faults = Vec::new();
        for error in results.filter_map(Result::err) {
            match error {
                Error::Settings(fault) => faults.push(fault),
                error => return Err(error),
            }
        }
        match loaded {
            Ok(loaded) if faults.is_empty() => return Ok((loaded, exporters)),
            Ok(_) => {}
            Err(Error::Settings(fault)) => faults.insert(0, fault),
            Err(error) => return Err(error),
        }
        // Two exporters may read the same variable.
        let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let mut lines: Vec<&str> = Vec::new();
        for line in text.iter().flat_map(|fault| fault.lines()) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Err(Error::Settings(lines.join("\n").into()))
    }
}
