//! The running export: its exporting thread, queue and sampler.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum_chassis::trace::TraceContext;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{TraceId, TracerProvider};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};
use tokio::sync::watch;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::Registry;

use crate::client::Client;
use crate::queue::{Reporting, SpanQueue, Spans};
use crate::resource::{SCHEMA_URL, resource};
use crate::variables::TraceVariables;

/// A running export of traces.
pub(crate) struct Exporting {
    config: TraceVariables,
    pub(crate) queue: SpanQueue,
    pub(crate) spans: Arc<Spans>,
    provider: SdkTracerProvider,
    pub(crate) scope: InstrumentationScope,
    stopping: watch::Sender<bool>,
}

impl Exporting {
    /// Starts the exporting thread. The thread connects to the collector later.
    ///
    /// # Errors
    /// If the operating system refuses a resource that the export needs, such as the thread.
    pub(crate) fn start(
        config: TraceVariables,
        name: &'static str,
        version: &'static str,
    ) -> io::Result<Self> {
        let (stopping, stop) = watch::channel(false);
        let spans = Arc::new(Spans::new(config.queue));
        let client = Client::new(config.collector.clone(), stop)?;
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(config.queue)
            .with_max_export_batch_size(config.batch)
            .with_scheduled_delay(config.delay)
            .build();
        let resource = resource(&config.resource, name, version);
        let batches = BatchSpanProcessor::new(Reporting::new(client, spans.clone()), batch);
        let queue = SpanQueue::new(batches, &resource, spans.clone());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(config.sampling.sampler())
            .with_span_processor(queue.clone())
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        Ok(Self {
            config,
            queue,
            spans,
            provider,
            scope,
            stopping,
        })
    }

    /// Logs the collector's address.
    pub(crate) fn announce(&self) {
        tracing::info!(
            endpoint = %self.config.collector.endpoint,
            sampler = %self.config.sampling,
            "exporting traces"
        );
    }

    /// Whether this trace is exported. This is called once per request.
    pub(crate) fn samples(&self, trace: &TraceContext) -> bool {
        let (id, _, parent) = trace.as_numbers();
        let parent = parent.map(|_| trace.is_sampled());
        self.config.sampling.decide(TraceId::from(id), parent)
    }

    /// The `tracing` layer that exports spans.
    pub(crate) fn layer(&self) -> OpenTelemetryLayer<Registry, SdkTracer> {
        // No schema, because the attributes are those that handlers choose.
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(scope))
            // Code locations and threads are left out, because they belong in the log.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
    }

    pub(crate) async fn flush(&self, within: Duration) {
        self.stopping.send_replace(true);
        let provider = self.provider.clone();
        // The shutdown of the provider blocks, so it runs on a thread of its own. After the timeout, this thread may
        // continue.
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(within));
        let in_time = matches!(tokio::time::timeout(within, closed).await, Ok(Ok(Ok(()))));
        if !in_time {
            tracing::warn!(
                spans = self.spans.waiting(),
                timeout_ms = within.as_millis() as u64,
                "spans not exported before the timeout"
            );
        }
    }
}
