//! Prometheus metrics in a registry that is a value, not a global.
//!
//! ```
//! # fn main() -> Result<(), prometheus::Error> {
//! # use axum_chassis::{metrics::Metrics, prometheus};
//! let metrics = Metrics::new();
//! let orders = metrics.counter("orders_total", "Orders taken.")?;
//! orders.inc();
//! let (_, text) = metrics.encode(None);
//! assert_eq!(text, "# HELP orders_total Orders taken.\n# TYPE orders_total counter\norders_total 1\n");
//! # Ok(())
//! # }
//! ```

mod encode;
mod fn_collector;
pub mod http;
mod machine;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry,
};

pub use self::encode::{accepts_gzip, gzip};
use self::fn_collector::FnCollector;

/// A handle to the service's metrics registry.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

// === impl Metrics ===

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A number that only grows. Its name ends in `_total`.
    ///
    /// # Errors
    ///
    /// For this and the following methods: if the name is taken or invalid.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::new(name, help)?)
    }

    /// A counter with labels. Every label combination is kept until the process ends.
    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.registered(Gauge::new(name, help)?)
    }

    /// A gauge with labels.
    pub fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        self.registered(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram of observations; `buckets` are the upper bounds.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(options)?)
    }

    /// A histogram with labels.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.registered(HistogramVec::new(options, labels)?)
    }

    /// A counter whose value another library keeps, such as a pool; read at each scrape.
    ///
    /// The same name may be registered again with other label values.
    pub fn counter_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        self.register(Box::new(FnCollector::counter(name, help, labels, read)?))
    }

    /// A gauge whose value another library keeps; read at each scrape.
    ///
    /// The same name may be registered again with other label values.
    pub fn gauge_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        self.register(Box::new(FnCollector::gauge(name, help, labels, read)?))
    }

    /// Anything else that the `prometheus` crate can collect.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// Adds the families of HTTP.
    pub fn http(&self) -> Result<http::Http, prometheus::Error> {
        http::Http::register(self)
    }

    /// Adds `process_*` and `cgroup_*`, as far as this machine provides them.
    pub fn machine(&self) -> Result<(), prometheus::Error> {
        machine::process(self)?;
        machine::cgroup(self)
    }

    /// Adds `tokio_*` of the runtime behind `handle`.
    pub fn runtime(&self, handle: &tokio::runtime::Handle) -> Result<(), prometheus::Error> {
        machine::runtime(self, handle)
    }

    /// Adds `build_info`, always 1, with the build in its labels.
    pub fn build_info(&self, labels: &[(&str, &str)]) -> Result<(), prometheus::Error> {
        self.gauge_fn(
            "build_info",
            "The name and version of the build, as labels.",
            labels,
            || 1.0,
        )
    }

    /// Everything as text, and its content type: OpenMetrics if `accept`, the header of the
    /// request, prefers it, else Prometheus' own.
    pub fn encode(&self, accept: Option<&str>) -> (&'static str, String) {
        encode::encode(&self.gather(), accept)
    }

    /// Everything, as it is at this moment.
    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    fn registered<C: Collector + Clone + 'static>(
        &self,
        collector: C,
    ) -> Result<C, prometheus::Error> {
        self.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
