//! Handles of single metrics, which services keep and update.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A number that only grows. Cheap to clone; clones share the value.
#[derive(Clone, Debug)]
pub struct Counter(pub(super) prometheus::IntCounter);

impl Counter {
    /// Adds 1.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Adds `number`.
    pub fn inc_by(&self, number: u64) {
        self.0.inc_by(number);
    }

    /// The value so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down. Cheap to clone; clones share the value.
#[derive(Clone, Debug)]
pub struct Gauge(pub(super) prometheus::Gauge);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds 1.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Subtracts 1.
    pub fn dec(&self) {
        self.0.dec();
    }

    /// Adds `difference`, which may be negative.
    pub fn add(&self, difference: f64) {
        self.0.add(difference);
    }

    /// The value now.
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

/// The distribution of values, in buckets. Cheap to clone; clones share the buckets.
#[derive(Clone, Debug)]
pub struct Histogram(pub(super) prometheus::Histogram);

impl Histogram {
    /// Counts a value.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }

    /// Counts a duration, in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }
}

/// Metrics with the same name and `N` labels, one for each combination of the labels' values. Cheap to clone; clones
/// share the metrics.
///
/// ```
/// # fn main() -> Result<(), axum_chassis::metrics::InvalidMetric> {
/// use axum_chassis::metrics::{Counter, Family, Metrics};
///
/// let metrics = Metrics::new();
/// let orders: Family<Counter, 1> = metrics.counter_with("orders_total", "Orders.", ["kind"])?;
/// orders.with(["express"]).inc();
/// assert_eq!(orders.with(["express"]).get(), 1);
/// # Ok(()) }
/// ```
///
/// Every combination is kept, and exposed, until the process ends. Use labels with few possible values, never an ID, a
/// path or text that a client sends.
#[derive(Clone)]
pub struct Family<M, const N: usize> {
    metric: Arc<Find<M, N>>,
}

/// Finds the metric with these values of its labels.
type Find<M, const N: usize> = dyn Fn([&str; N]) -> M + Send + Sync;

impl<M, const N: usize> Family<M, N> {
    pub(super) fn new(metric: impl Fn([&str; N]) -> M + Send + Sync + 'static) -> Self {
        let metric = Arc::new(metric);
        Self { metric }
    }

    /// The metric with these values of the labels, in the order of the labels. A new one begins at 0.
    pub fn with(&self, values: [&str; N]) -> M {
        (self.metric)(values)
    }
}

impl<M, const N: usize> fmt::Debug for Family<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").finish_non_exhaustive()
    }
}

/// A metric cannot be registered: its name is taken, or its name, a label or its buckets are invalid.
#[derive(Clone, Debug)]
pub struct InvalidMetric {
    name: Box<str>,
    problem: Box<str>,
}

impl InvalidMetric {
    /// The error of the metric `name`.
    pub(crate) fn new(name: &str, error: prometheus::Error) -> Self {
        let problem = match error {
            prometheus::Error::AlreadyReg => "already registered".into(),
            // The error's text is the whole description of the other metric.
            prometheus::Error::Msg(text) if text.starts_with("a previously registered") => {
                "already registered with other labels or another help text".into()
            }
            prometheus::Error::Msg(text) => text.into(),
            other => other.to_string().into(),
        };
        Self {
            name: name.into(),
            problem,
        }
    }
}

impl fmt::Display for InvalidMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid metric {:?}: {}", self.name, self.problem)
    }
}

impl std::error::Error for InvalidMetric {}
