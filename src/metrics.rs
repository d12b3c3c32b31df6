//! Prometheus metrics in a registry that is a value, not a global.
//!
//! ```
//! # fn main() -> Result<(), axum_chassis::metrics::InvalidMetric> {
//! use axum_chassis::metrics::Metrics;
//!
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
mod handles;
pub(crate) mod http;
mod labeled;
mod machine;

use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{HistogramOpts, IntCounter, Opts, Registry};

pub(crate) use self::encode::{accepts_gzip, gzip};
use self::fn_collector::FnCollector;
pub use self::handles::{Counter, Family, Gauge, Histogram, InvalidMetric};
use self::labeled::Labeled;
use crate::error::Error;

/// A handle to the service's metrics registry. Cheap to clone; clones share the registry.
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
    /// For this and the following methods: if the name is taken, or if the name, a label or the buckets are invalid.
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, InvalidMetric> {
        self.registered(name, IntCounter::new(name, help))
            .map(Counter)
    }

    /// Counters with labels. [`Family::with`] returns the counter for the values of the labels.
    pub fn counter_with<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Counter, N>, InvalidMetric> {
        self.family(name, help, labels, IntCounter::with_opts, Counter)
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, InvalidMetric> {
        let gauge = prometheus::Gauge::new(name, help);
        self.registered(name, gauge).map(Gauge)
    }

    /// Gauges with labels.
    pub fn gauge_with<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Gauge, N>, InvalidMetric> {
        self.family(name, help, labels, prometheus::Gauge::with_opts, Gauge)
    }

    /// A histogram of observations; `buckets` are the upper bounds, in increasing order.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, InvalidMetric> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = prometheus::Histogram::with_opts(options);
        self.registered(name, histogram).map(Histogram)
    }

    /// Histograms with labels. A label cannot be named `le`, the name of a bucket's bound.
    pub fn histogram_with<const N: usize>(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: [&str; N],
    ) -> Result<Family<Histogram, N>, InvalidMetric> {
        let buckets = buckets.to_vec();
        let create = move |options| {
            let options = HistogramOpts::from(options).buckets(buckets.clone());
            prometheus::Histogram::with_opts(options)
        };
        self.family(name, help, labels, create, Histogram)
    }

    /// A counter whose value another library keeps, such as a connection pool. `read` is called at each scrape.
    ///
    /// The same name may be registered again with other label values.
    pub fn counter_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), InvalidMetric> {
        self.value_fn(MetricType::COUNTER, name, help, labels, read)
    }

    /// A gauge whose value another library keeps. `read` is called at each scrape.
    ///
    /// The same name may be registered again with other label values.
    pub fn gauge_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), InvalidMetric> {
        self.value_fn(MetricType::GAUGE, name, help, labels, read)
    }

    /// The registry of the `prometheus` crate, for libraries that register collectors of their own. Their metrics are
    /// exposed with the others. The feature `prometheus` also re-exports the crate.
    ///
    /// ```
    /// use axum_chassis::metrics::Metrics;
    /// use axum_chassis::prometheus::IntGauge;
    ///
    /// # fn main() -> Result<(), axum_chassis::prometheus::Error> {
    /// let metrics = Metrics::new();
    /// let gauge = IntGauge::new("pool_size", "Connections.")?;
    /// metrics.prometheus_registry().register(Box::new(gauge))?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "prometheus")]
    pub fn prometheus_registry(&self) -> &Registry {
        &self.registry
    }

    /// Adds the HTTP metrics.
    pub(crate) fn http(&self) -> Result<http::Http, InvalidMetric> {
        http::Http::register(self)
    }

    /// Adds `process_*` and `cgroup_*`, as far as this machine provides them.
    pub fn machine(&self) -> Result<(), InvalidMetric> {
        machine::process(self)?;
        machine::cgroup(self)
    }

    /// Adds `tokio_*`, the metrics of the runtime of `handle`.
    pub fn runtime(&self, handle: &tokio::runtime::Handle) -> Result<(), InvalidMetric> {
        machine::runtime(self, handle)
    }

    /// Adds `build_info`, always 1, with the build in its labels.
    pub fn build_info(&self, labels: &[(&str, &str)]) -> Result<(), InvalidMetric> {
        self.gauge_fn(
            "build_info",
            "The name and version of the build, as labels.",
            labels,
            || 1.0,
        )
    }

    /// The content type, and all metrics as text. The format is OpenMetrics if `accept`, the request's header, prefers
    /// it. Otherwise it is Prometheus' own.
    pub fn encode(&self, accept: Option<&str>) -> (&'static str, String) {
        encode::encode(&self.gather(), accept)
    }

    /// All metrics with their current values.
    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// Registers a counter or a gauge whose value is read at each scrape.
    fn value_fn(
        &self,
        kind: MetricType,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), InvalidMetric> {
        let collector = FnCollector::new(kind, name, help, labels, Box::new(read));
        self.register(collector.map_err(|error| InvalidMetric::new(name, error))?)
    }

    /// Registers a collector of this crate.
    pub(crate) fn register(
        &self,
        collector: impl Collector + 'static,
    ) -> Result<(), InvalidMetric> {
        let descriptions = collector.desc();
        let name = descriptions.first().map(|desc| desc.fq_name.clone());
        self.registry
            .register(Box::new(collector))
            .map_err(|error| InvalidMetric::new(&name.unwrap_or_default(), error))
    }

    /// Registers metrics with labels. `create` creates each metric from its options, and `handle` creates its handle.
    fn family<C: Collector + Clone + 'static, M: 'static, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        create: impl Fn(Opts) -> Result<C, prometheus::Error> + Send + Sync + 'static,
        handle: fn(C) -> M,
    ) -> Result<Family<M, N>, InvalidMetric> {
        let metrics = Labeled::new(Opts::new(name, help), labels, create);
        let metrics = self.registered(name, metrics)?;
        Ok(Family::new(move |values| handle(metrics.with(values))))
    }

    /// Registers the metric that has been created with this name.
    fn registered<C: Collector + Clone + 'static>(
        &self,
        name: &str,
        created: Result<C, prometheus::Error>,
    ) -> Result<C, InvalidMetric> {
        let register = |collector: C| {
            self.registry.register(Box::new(collector.clone()))?;
            Ok(collector)
        };
        created
            .and_then(register)
            .map_err(|error| InvalidMetric::new(name, error))
    }
}

impl From<InvalidMetric> for Error {
    fn from(invalid: InvalidMetric) -> Self {
        Self::Metrics(invalid.into())
    }
}
