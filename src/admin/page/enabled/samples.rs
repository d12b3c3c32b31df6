//! Metrics of the last ten minutes, sampled every few seconds, in bounded memory.
//!
//! Requests run no code of this module. A sample contains the values that a scrape would read, so its sums are the same
//! as those in Prometheus.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::metrics::Metrics;
use crate::metrics::http::{BOUNDS, DURATIONS, RESPONSE_BYTES};

/// The time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// The number of samples of all requests that are kept: ten minutes.
const SAMPLES: usize = 121;
/// The number of samples from one with the figures of each route to the next.
const APART: usize = 12;
/// The number of samples with the figures of each route that are kept: ten minutes, too.
const ROUTE_SAMPLES: usize = 11;
/// The number of routes that are counted separately.
const ROUTES: usize = 100;
/// The name of the sum of all other routes.
const OTHERS: &str = "(other routes)";

/// The requests since the start of the process, or those between two moments. The numbers wrap around, but differences
/// over ten minutes are still correct.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestCounts {
    /// The number of requests with a 5xx response.
    pub(super) errors: u32,
    /// Bytes of response bodies.
    pub(super) bytes: u64,
    /// The number of requests in each bucket: those that took at most its bound, and longer than the previous bound.
    buckets: [u32; BOUNDS.len() + 1],
}

/// The values of all metrics at one moment.
pub(super) struct Snapshot {
    pub(super) at: Instant,
    families: Vec<MetricFamily>,
}

pub(super) struct Samples {
    totals: VecDeque<Totals>,
    routes: VecDeque<(Instant, Vec<RequestCounts>)>,
    /// The routes with counts of their own, in the order of their first request. The first entry is the sum of all others.
    names: Vec<String>,
    taken: usize,
}

struct Totals {
    at: Instant,
    requests: RequestCounts,
    in_flight: f64,
    cpu_seconds: f64,
    throttled_seconds: f64,
}

/// The change between two samples.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub(super) seconds: f64,
    pub(super) requests: RequestCounts,
    pub(super) in_flight: f64,
    pub(super) cpu_cores: f64,
    pub(super) throttled: f64,
}

// === impl RequestCounts ===

impl RequestCounts {
    pub(super) fn total(&self) -> u32 {
        let counts = self.buckets.iter();
        counts.fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// The change since `earlier`.
    fn since(mut self, earlier: &Self) -> Self {
        self.errors = self.errors.wrapping_sub(earlier.errors);
        self.bytes = self.bytes.wrapping_sub(earlier.bytes);
        for (count, before) in self.buckets.iter_mut().zip(&earlier.buckets) {
            *count = count.wrapping_sub(*before);
        }
        self
    }

    /// Adds one series of the histogram of request durations.
    fn add(&mut self, metric: &Metric) {
        let histogram = metric.get_histogram();
        let total = histogram.get_sample_count();
        let bounded = histogram.get_bucket().iter();
        let ends = bounded.map(|bucket| bucket.cumulative_count());
        let mut below = 0;
        for (count, end) in self.buckets.iter_mut().zip(ends.chain([total])) {
            *count = count.wrapping_add((end - below) as u32);
            below = end;
        }
        if label(metric, "http_response_status_code").starts_with('5') {
            self.errors = self.errors.wrapping_add(total as u32);
        }
    }

    /// The quantile `share` in milliseconds, computed like Prometheus's `histogram_quantile`; `None` without requests.
    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = share * f64::from(self.total());
        let (mut seen, mut lower) = (0.0, 0.0);
        for (at, &count) in self.buckets.iter().enumerate() {
            // Requests that took longer than the last bound count as if they took exactly this bound.
            let upper = BOUNDS.get(at).map_or(lower, |bound| *bound as f64 / 1e6);
            let count = f64::from(count);
            if count > 0.0 && seen + count >= rank {
                return Some(lower + (upper - lower) * ((rank - seen) / count).clamp(0.0, 1.0));
            }
            seen += count;
            lower = upper;
        }
        None
    }
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn of(metrics: &Metrics) -> Self {
        Self {
            at: Instant::now(),
            families: metrics.gather(),
        }
    }

    fn family(&self, name: &str) -> &[Metric] {
        let family = self.families.iter().find(|family| family.name() == name);
        family.map_or(&[], MetricFamily::get_metric)
    }

    /// The sum of a counter's or a gauge's series; `None` if this process has none.
    #[inline(never)]
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        let family = self.families.iter().find(|family| family.name() == name)?;
        let counts = family.get_field_type() == MetricType::COUNTER;
        let series = family.get_metric().iter().map(|metric| match counts {
            true => metric.get_counter().get_value(),
            false => metric.get_gauge().get_value(),
        });
        series.reduce(|sum, value| sum + value)
    }

    /// The series of all gauges whose names begin with `prefix`, each with its name and labels in Prometheus's
    /// notation.
    pub(super) fn gauges(&self, prefix: &str) -> Vec<(String, f64)> {
        let families = self.families.iter().filter(|family| {
            family.name().starts_with(prefix) && family.get_field_type() == MetricType::GAUGE
        });
        let series = families.flat_map(|family| {
            let named = family.get_metric().iter();
            named.map(|metric| {
                let labels = metric.get_label().iter();
                let values: Vec<&str> = labels.map(|label| label.value()).collect();
                let name = format!("{} {}", family.name(), values.join(" "));
                (name.trim_end().to_owned(), metric.get_gauge().get_value())
            })
        });
        series.collect()
    }

    /// The requests of each route in `names`. New routes are added to `names`.
    fn by_route(&self, names: &mut Vec<String>) -> Vec<RequestCounts> {
        let mut routes = vec![RequestCounts::default(); names.len()];
        for metric in self.family(DURATIONS) {
            let route = label(metric, "http_route");
            let known = names.iter().position(|name| name == route);
            let at = match known {
                Some(at) => at,
                None if names.len() <= ROUTES => {
                    names.push(route.to_owned());
                    routes.push(RequestCounts::default());
                    names.len() - 1
                }
                None => 0,
            };
            routes[at].add(metric);
        }
        for metric in self.family(RESPONSE_BYTES) {
            let route = label(metric, "http_route");
            let at = names.iter().position(|name| name == route).unwrap_or(0);
            routes[at].bytes += metric.get_counter().get_value() as u64;
        }
        routes
    }

    fn totals(&self) -> Totals {
        let mut requests = RequestCounts::default();
        for metric in self.family(DURATIONS) {
            requests.add(metric);
        }
        Totals {
            at: self.at,
            requests,
            in_flight: self
                .value("http_server_active_requests")
                .unwrap_or_default(),
            cpu_seconds: self.value("process_cpu_seconds_total").unwrap_or_default(),
            throttled_seconds: self
                .value("cgroup_cpu_throttled_seconds_total")
                .unwrap_or_default(),
        }
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let mut labels = metric.get_label().iter();
    let found = labels.find(|label| label.name() == name);
    found.map_or("", |label| label.value())
}

// === impl Samples ===

impl Default for Samples {
    fn default() -> Self {
        Self {
            totals: VecDeque::new(),
            routes: VecDeque::new(),
            names: vec![OTHERS.to_owned()],
            taken: 0,
        }
    }
}

impl Samples {
    /// Takes another sample.
    pub(super) fn take(&mut self, snapshot: &Snapshot) {
        push(&mut self.totals, snapshot.totals(), SAMPLES);
        if self.taken.is_multiple_of(APART) {
            let routes = snapshot.by_route(&mut self.names);
            push(&mut self.routes, (snapshot.at, routes), ROUTE_SAMPLES);
        }
        self.taken += 1;
    }

    /// The changes between consecutive samples, oldest first. The last change is that between the last sample and
    /// `now`.
    pub(super) fn intervals(&self, now: &Snapshot) -> Vec<Interval> {
        let now = now.totals();
        let later = self.totals.iter().skip(1).chain([&now]);
        let both = self.totals.iter().zip(later);
        both.filter_map(|(one, other)| Totals::between(one, other))
            .collect()
    }

    /// The seconds that the samples cover (at most about ten minutes), and the requests of each route in this time.
    pub(super) fn routes(&self, now: &Snapshot) -> (f64, Vec<(String, RequestCounts)>) {
        let mut names = self.names.clone();
        let mut routes = now.by_route(&mut names);
        let mut seconds = 0.0;
        if let Some((since, before)) = self.routes.front() {
            seconds = (now.at - *since).as_secs_f64();
            for (requests, before) in routes.iter_mut().zip(before) {
                *requests = requests.since(before);
            }
        }
        let mut named: Vec<_> = names.into_iter().zip(routes).collect();
        named.retain(|(_, requests)| requests.total() > 0);
        (seconds, named)
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T, bound: usize) {
    ring.push_back(value);
    if ring.len() > bound {
        ring.pop_front();
    }
}

// === impl Totals ===

impl Totals {
    /// The change between two samples. `None` if they are less than a second apart: dividing by so short a time would
    /// not be accurate.
    fn between(one: &Self, other: &Self) -> Option<Interval> {
        let seconds = (other.at - one.at).as_secs_f64();
        (seconds >= 1.0).then(|| Interval {
            seconds,
            requests: other.requests.since(&one.requests),
            in_flight: other.in_flight,
            cpu_cores: (other.cpu_seconds - one.cpu_seconds).max(0.0) / seconds,
            throttled: (other.throttled_seconds - one.throttled_seconds).max(0.0) / seconds,
        })
    }
}
