//! The export with the feature `otlp`: reads the environment variables and starts the exporting thread.

mod client;
mod queue;
mod sampling;
mod span;
mod variables;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{TraceId, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};
use tokio::sync::watch;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use self::client::Client;
use self::queue::{Reporting, SpanQueue, Spans};
pub(crate) use self::span::Span;
use self::variables::{InvalidVariables, Variables};
use super::Counts;
use crate::error::Error;
use crate::trace::TraceContext;

/// The environment variables; `None` if the export is off.
pub(crate) struct Config(Option<Variables>);

impl Config {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// All that is wrong with them. Where nothing is exported, nothing is.
    pub(crate) fn from_environment() -> Result<Self, InvalidVariables> {
        variables::read(&|name| std::env::var_os(name)).map(Self)
    }
}

/// The export of this process's traces. Cheap to clone; all clones are one.
///
/// ```no_run
/// use std::time::Duration;
///
/// use axum::{Router, routing::get};
/// use axum_chassis::{limits, logs, metrics::Metrics, otlp::Export, request::RequestLayer};
///
/// #[tokio::main]
/// async fn main() -> anyhow::Result<()> {
///     let export = Export::from_env(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))?;
///     let logs = logs::install_with_tracing(&logs::Settings::default(), &export)?;
///     let layer = RequestLayer::new(&limits::Settings::default(), &logs, &Metrics::new())?;
///     let routes = Router::new().route("/", get("hello")).layer(layer.with_tracing(&export));
///
///     let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
///     let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
///     axum::serve(listener, routes).with_graceful_shutdown(interrupted).await?;
///
///     export.flush(Duration::from_secs(3)).await;
///     logs.flush(Duration::from_secs(1));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Export(Option<Arc<Exporter>>);

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

struct Exporter {
    config: Variables,
    queue: SpanQueue,
    spans: Arc<Spans>,
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    scope: InstrumentationScope,
    stopping: watch::Sender<bool>,
}

impl Export {
    /// Starts the export that the standard's environment variables configure, such as `OTEL_EXPORTER_OTLP_ENDPOINT`; without an
    /// endpoint nothing is exported. `name` and `version` are the defaults of the service's resource attributes.
    ///
    /// # Errors
    /// [`Error::Settings`] with all that is wrong with them, a line each; [`Error::Runtime`] when
    /// the operating system refuses what the export takes.
    pub fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        let config = Config::from_environment().map_err(|wrong| Error::Settings(wrong.into()))?;
        Self::start(config, name, version).map_err(Error::Runtime)
    }

    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Starts the exporting thread; it does not connect to the collector yet.
    ///
    /// # Errors
    /// When the operating system refuses what that takes.
    pub(crate) fn start(
        config: Config,
        name: &'static str,
        version: &'static str,
    ) -> io::Result<Self> {
        let Some(config) = config.0 else {
            return Ok(Self::off());
        };
        let (stopping, stop) = watch::channel(false);
        let spans = Arc::new(Spans::new(config.queue));
        let client = Client::new(&config.endpoint, config.timeout, stop, spans.clone())?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(config.endpoint.to_string())
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_timeout(config.timeout)
            .with_http_client(client)
            // The client retries itself, because it can stop when the service stops.
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
            .build()
            .map_err(io::Error::other)?;
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue)
            .with_max_export_batch_size(config.batch)
            .with_scheduled_delay(config.delay)
            .build();
        let resource = resource(&config, name, version);
        let batches = BatchSpanProcessor::new(Reporting::new(exporter, spans.clone()), batch);
        let queue = SpanQueue::new(batches, &resource, spans.clone());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(config.sampling.sampler())
            .with_span_processor(queue.clone())
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(Self(Some(Arc::new(Exporter {
            tracer: provider.tracer_with_scope(scope.clone()),
            config,
            queue,
            spans,
            provider,
            scope,
            stopping,
        }))))
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Logs the collector's address.
    pub(crate) fn announce(&self) {
        if let Some(Exporter { config, .. }) = self.0.as_deref() {
            tracing::info!(
                endpoint = %config.endpoint,
                sampler = %config.sampling,
                "exporting traces"
            );
        }
    }

    /// The numbers of exported and lost spans, for metrics.
    pub fn counts(&self) -> Counts {
        let running = self.0.as_ref();
        running.map_or_else(Counts::default, |running| running.spans.counts())
    }

    /// The `tracing` layer that exports spans.
    pub(crate) fn layer<S>(&self) -> Option<OpenTelemetryLayer<S, SdkTracer>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.0.as_ref().map(|running| {
            tracing_opentelemetry::layer()
                .with_tracer(running.tracer.clone())
                // Without code locations and threads, which belong into the log.
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
        })
    }

    /// Exports what is left, at most for `within`; nothing is exported any more afterwards. What
    /// could not be exported in time is logged.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its time enabled.
    pub async fn flush(&self, within: Duration) {
        let Some(running) = &self.0 else {
            return;
        };
        running.stopping.send_replace(true);
        let provider = running.provider.clone();
        // It blocks. Its own thread goes on alone if the time runs out.
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(within));
        let in_time = matches!(tokio::time::timeout(within, closed).await, Ok(Ok(Ok(()))));
        if !in_time {
            tracing::warn!(
                spans = running.spans.waiting(),
                timeout_ms = within.as_millis() as u64,
                "spans not exported before the timeout"
            );
        }
    }
}

impl Exporter {
    /// Whether this trace is exported; evaluated once a request.
    fn samples(&self, trace: &TraceContext) -> bool {
        let (id, _, parent) = trace.as_numbers();
        let parent = parent.map(|_| trace.is_sampled());
        self.config.sampling.decide(TraceId::from(id), parent)
    }
}

/// The resource attributes: environment variables take precedence over the build.
fn resource(config: &Variables, name: &'static str, version: &'static str) -> Resource {
    let own = [("service.name", name), ("service.version", version)];
    let own = own.map(|(key, value)| KeyValue::new(key, value));
    let given = config.attributes.iter().cloned();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own)
        .with_attributes(given.map(|(key, value)| KeyValue::new(key, value)));
    match config.service_name.clone() {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}
