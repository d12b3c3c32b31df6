//! [`MetricsExport`], which sends the metrics of `/metrics` to a collector at an interval.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum_chassis::metrics::Metrics;
use axum_chassis::{Chassis, Error, Exporter};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio::sync::{oneshot, watch};

use crate::client::{Accepted, Client};
use crate::convert::{Baseline, Times, cumulative, now_nanos};
use crate::queue::{BETWEEN_REPORTS, Warnings, lock};
use crate::resource::{SCHEMA_URL, encoded, resource, scope};
use crate::variables::{self, MetricVariables};

/// The export of this process's metrics: the same counters, gauges and histograms as on `/metrics`. Cheap to clone;
/// clones share their state.
///
/// [`Otlp`](crate::Otlp) contains it. To export only metrics, a [`Service`](axum_chassis::Service) has the line
/// `.export(MetricsExport::from_env)`.
///
/// The metrics are read by a thread of its own, so requests cost the same with and without the export.
#[derive(Clone)]
pub struct MetricsExport(Option<Arc<Export>>);

struct Export {
    variables: MetricVariables,
    name: &'static str,
    version: &'static str,
    results: Results,
    stopping: watch::Sender<bool>,
    /// Completes after the last export. `None` before the start, and after the flush.
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The numbers of exports by result. Clones share them.
#[derive(Clone, Debug, Default)]
struct Results {
    accepted: Arc<AtomicU64>,
    partial: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl MetricsExport {
    /// Reads OpenTelemetry's environment variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Without an endpoint, nothing
    /// is exported. `name` and `version` are the defaults of the service's resource attributes.
    ///
    /// # Errors
    /// [`Error::Settings`] with one line for each invalid variable.
    pub fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        let variables = variables::metrics(&|name| std::env::var_os(name))
            .map_err(|invalid| Error::Settings(invalid.into()))?;
        Ok(Self(variables.map(|variables| {
            Arc::new(Export {
                variables,
                name,
                version,
                results: Results::default(),
                stopping: watch::Sender::new(false),
                done: Mutex::default(),
            })
        })))
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the exporting thread, in a program without a [`Server`](axum_chassis::Server). Each export contains the
    /// metrics of this registry. A `Service` and a `Server` call this at their start. Call it once.
    ///
    /// Keep a clone until [`flush`](Self::flush): when the last one is dropped, the thread exports once more and ends.
    ///
    /// # Errors
    /// If the operating system refuses a resource that the export needs, such as the thread.
    pub fn start(&self, metrics: &Metrics) -> io::Result<()> {
        match &self.0 {
            Some(export) => export.start(metrics.clone()),
            None => Ok(()),
        }
    }

    /// Exports the final values, for at most `within`. After that, nothing is exported any more. If the collector does
    /// not accept the values in time, this is logged. A `Service` and a `Server` call this at the end of their shutdown.
    ///
    /// # Panics
    /// Outside of a tokio runtime with enabled timers.
    pub async fn flush(&self, within: Duration) {
        if let Some(export) = &self.0 {
            export.flush(within).await;
        }
    }
}

impl Exporter for MetricsExport {
    fn is_on(&self) -> bool {
        self.is_on()
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        let Some(export) = &self.0 else {
            return Ok(());
        };
        tracing::info!(
            endpoint = %export.variables.collector.endpoint,
            interval_ms = export.variables.interval.as_millis() as u64,
            "exporting metrics"
        );
        let metrics = chassis.metrics();
        let help = "Exports of metrics to the collector, by result.";
        let Results {
            accepted,
            partial,
            failed,
        } = &export.results;
        for (result, count) in [
            ("accepted", accepted),
            ("partial", partial),
            ("failed", failed),
        ] {
            let count = count.clone();
            let read = move || count.load(Ordering::Relaxed) as f64;
            metrics.counter_fn("metric_exports_total", help, &[("result", result)], read)?;
        }
        export.start(metrics.clone())?;
        Ok(())
    }

    async fn flush(&self, within: Duration) {
        self.flush(within).await;
    }
}

impl fmt::Debug for MetricsExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsExport")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

// === impl Export ===

impl Export {
    fn start(&self, metrics: Metrics) -> io::Result<()> {
        let variables = &self.variables;
        let resource = resource(&variables.resource, self.name, self.version);
        let now = now_nanos();
        let thread = ExportThread {
            client: Client::new(variables.collector.clone(), self.stopping.subscribe())?,
            metrics,
            resource: (&resource).into(),
            interval: variables.interval,
            start: now,
            deltas: variables.is_delta.then(|| (Baseline::default(), now)),
            results: self.results.clone(),
            reported: None,
            warnings: Warnings::default(),
        };
        let (done, is_done) = oneshot::channel();
        std::thread::Builder::new()
            .name("otlp-metrics".to_owned())
            .spawn(move || {
                thread.run();
                // An error means that nobody waits for the end.
                let _ = done.send(());
            })?;
        *lock(&self.done) = Some(is_done);
        Ok(())
    }

    async fn flush(&self, within: Duration) {
        self.stopping.send_replace(true);
        let done = lock(&self.done).take();
        if let Some(done) = done
            && tokio::time::timeout(within, done).await.is_err()
        {
            tracing::warn!(
                timeout_ms = within.as_millis() as u64,
                "metrics not exported before the timeout"
            );
        }
    }
}

struct ExportThread {
    client: Client,
    metrics: Metrics,
    resource: ResourceAttributesWithSchema,
    interval: Duration,
    /// The time at which counters were zero.
    start: u64,
    /// If differences are exported: the values and the time of the last accepted export.
    deltas: Option<(Baseline, u64)>,
    results: Results,
    /// The time of the last log line about a failure, if exports fail.
    reported: Option<Instant>,
    warnings: Warnings,
}

impl ExportThread {
    fn run(mut self) {
        let mut next = Instant::now();
        loop {
            next = (next + self.interval).max(Instant::now());
            let is_stopping = self.client.wait_until(next);
            self.export();
            if is_stopping {
                return;
            }
        }
    }

    /// Exports the current values, counts the result and reports it.
    fn export(&mut self) {
        let result = self.send();
        let count = match &result {
            Ok(Accepted { rejected: 0, .. }) => &self.results.accepted,
            Ok(_) => &self.results.partial,
            Err(_) => &self.results.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.report(&result);
    }

    fn send(&mut self) -> Result<Accepted, String> {
        let registry = self.metrics.prometheus_registry();
        // The panic hook logs the panic itself.
        let families = catch_unwind(AssertUnwindSafe(|| registry.gather()))
            .map_err(|_| "a function that returns the value of a metric panicked".to_owned())?;
        let since = self.deltas.as_ref().map_or(self.start, |(_, since)| *since);
        // The wall clock may step back, but a time span must not end before it begins.
        let now = now_nanos().max(since);
        let times = Times {
            start: self.start,
            now,
        };
        let mut metrics = cumulative(&families, times);
        let deltas = self.deltas.as_ref();
        let next = deltas.map(|(last, since)| (last.subtract(&mut metrics, *since), now));
        let result = self.client.send(&ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(encoded(&self.resource)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                ..ResourceMetrics::default()
            }],
        });
        if result.is_ok() {
            self.deltas = next;
        }
        result
    }

    /// Logs failures at a limited rate, their end, and warnings of the collector.
    fn report(&mut self, result: &Result<Accepted, String>) {
        let due = self
            .reported
            .is_none_or(|at| at.elapsed() >= BETWEEN_REPORTS);
        match result {
            Ok(Accepted {
                rejected: 0,
                message,
            }) => {
                if self.reported.take().is_some() {
                    tracing::info!("the collector accepts metrics again");
                }
                if self.warnings.is_due(message) {
                    tracing::warn!(
                        warning = message,
                        "the collector accepted metrics with a warning"
                    );
                }
                return;
            }
            _ if !due => return,
            Ok(Accepted { rejected, message }) => {
                tracing::warn!(
                    points = rejected,
                    error = message,
                    "the collector rejected a part of the metrics"
                );
            }
            Err(error) => tracing::warn!(error, "metrics not exported"),
        }
        self.reported = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::variables::Collector;

    fn thread(metrics: &Metrics, endpoint: &str) -> ExportThread {
        let collector = Collector {
            endpoint: endpoint.parse().expect("a URL"),
            headers: HeaderMap::new(),
            gzip: false,
            timeout: Duration::from_secs(10),
            tls: None,
        };
        let (_, stop) = watch::channel(false);
        ExportThread {
            client: Client::new(collector, stop).expect("a runtime"),
            metrics: metrics.clone(),
            resource: ResourceAttributesWithSchema::default(),
            interval: Duration::from_secs(1),
            start: 0,
            deltas: None,
            results: Results::default(),
            reported: None,
            warnings: Warnings::default(),
        }
    }

    #[test]
    fn an_export_does_not_end_before_its_start_if_the_clock_steps_back() {
        let (address, collector) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("a free port");
                address
                    .send(listener.local_addr().expect("an address"))
                    .expect("a waiting test");
                axum::serve(listener, axum::Router::new().fallback(|| async {})).await
            })
        });
        let address = collector.recv().expect("a collector");
        // The clock was ahead at the last export.
        let ahead = u64::MAX;
        let mut thread = thread(&Metrics::new(), &format!("http://{address}/"));
        thread.deltas = Some((Baseline::default(), ahead));
        thread.export();
        let (_, since) = thread.deltas.as_ref().expect("differences");
        assert_eq!(*since, ahead);
        assert_eq!(thread.results.accepted.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_export_without_values_because_of_a_panic_is_counted_and_reported_as_failed() {
        let metrics = Metrics::new();
        let panics = metrics.gauge_fn("level", "Level.", &[], || panic!("no level"));
        panics.expect("valid");
        let mut thread = thread(&metrics, "http://127.0.0.1:1/");
        thread.export();
        assert_eq!(thread.results.failed.load(Ordering::Relaxed), 1);
        assert!(thread.reported.is_some());
    }
}
