//! HTTP metrics, with OpenTelemetry's names.
//!
//! A request is counted without a lock, a hash or an allocation. The request layer around a route has the route's
//! [`Route`], which contains its histograms by method and status. The number of series is bounded: the routes are those
//! of the router, and the methods are the standard ones and `_OTHER`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::{Method, StatusCode};
use axum_chassis_server::Events;
use prometheus::IntGauge;

use super::Metrics;
use super::handles::{Counter, Family, Histogram, InvalidMetric};
use crate::logs::FinishedRequest;

/// The route of a request that no route matched.
pub(crate) const UNMATCHED: &str = "unmatched";

/// The name of the histogram of request durations.
pub(crate) const DURATIONS: &str = "http_server_request_duration_seconds";
/// The name of the counter of response bytes.
pub(crate) const RESPONSE_BYTES: &str = "http_server_response_bytes_total";

/// The bounds of the buckets in nanoseconds: those that OpenTelemetry recommends, and two smaller ones, because a
/// service in Rust often answers within the first recommended bucket.
pub(crate) const BOUNDS: [u64; 16] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// The methods that the conventions list, and the label of all others.
const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    "_OTHER",
];

/// The HTTP metrics.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    /// Requests that are being served.
    pub(crate) active_requests: Active,
    /// Bytes of request bodies read.
    pub(crate) request_bytes: Counter,
    /// Requests rejected because too many were in flight, or because too many bytes of bodies were in memory.
    pub(crate) requests_shed: Counter,
    /// Connections that are open.
    pub(crate) connections: IntGauge,
    /// The maximum number of open connections.
    pub(crate) connections_limit: IntGauge,
    /// Connections closed to make room for others.
    pub(crate) connections_evicted: Counter,
    /// Connections ever accepted.
    pub(crate) connections_total: Counter,
    /// Connections aborted at the shutdown deadline.
    pub(crate) connections_aborted: Counter,
    /// Responses aborted because the client did not read them.
    pub(crate) send_timeouts: Counter,
    /// Unread bytes of responses of a known length.
    pub(crate) response_waiting: IntGauge,
    /// Connections without a valid request, by reason.
    pub(crate) refused: Family<Counter, 1>,
    /// Failures to accept a connection.
    pub(crate) accept_errors: Counter,
    durations: Family<Histogram, 3>,
    response_bytes: Family<Counter, 1>,
}

/// The number of requests that are being served. It is exported as a gauge, and compared with `limits.concurrency` when
/// a request arrives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Active(Arc<AtomicU64>);

/// The metrics of one route: request durations and response bytes.
#[derive(Debug)]
pub(crate) struct Route {
    pattern: Box<str>,
    response_bytes: Counter,
    durations: Family<Histogram, 3>,
    methods: [OnceLock<Box<Series>>; METHODS.len()],
}

/// The requests of a route and method that ended with one status. It is an entry of a linked list, which is short,
/// because a route responds with few different statuses.
#[derive(Debug)]
struct Series {
    status: StatusCode,
    durations: Histogram,
    next: OnceLock<Box<Series>>,
}

// === impl Http ===

impl Http {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, InvalidMetric> {
        let counter = |name, help| metrics.counter(name, help);
        let gauge = |name, help| metrics.registered(name, IntGauge::new(name, help));
        let labels = [
            "http_request_method",
            "http_response_status_code",
            "http_route",
        ];
        let active_requests = Active::default();
        let active = active_requests.clone();
        metrics.gauge_fn(
            "http_server_active_requests",
            "Requests that are being served.",
            &[],
            move || active.get() as f64,
        )?;
        Ok(Self {
            active_requests,
            request_bytes: counter(
                "http_server_request_bytes_total",
                "Bytes of request bodies read.",
            )?,
            requests_shed: counter(
                "http_server_requests_shed_total",
                "Requests refused because too many were being served, or too much of their bodies was in memory.",
            )?,
            connections: gauge("http_server_connections", "Connections that are open.")?,
            connections_limit: gauge(
                "http_server_connections_limit",
                "The maximum number of open connections: server.max_connections.",
            )?,
            connections_evicted: counter(
                "http_server_connections_evicted_total",
                "Connections closed to make room for others: idle ones first.",
            )?,
            send_timeouts: counter(
                "http_server_send_timeouts_total",
                "Responses aborted because the client read nothing for server.send_timeout.",
            )?,
            response_waiting: gauge(
                "http_server_response_waiting_bytes",
                "Bytes of responses of a known length that the clients have not read yet.",
            )?,
            refused: metrics.counter_with(
                "http_server_refused_total",
                "Connections without a valid request, by reason.",
                ["reason"],
            )?,
            connections_total: counter("http_server_connections_total", "Connections accepted.")?,
            connections_aborted: counter(
                "http_server_connections_cut_total",
                "Connections aborted at the shutdown deadline.",
            )?,
            accept_errors: counter(
                "http_server_accept_errors_total",
                "Failures to accept a connection.",
            )?,
            durations: metrics.histogram_with(
                DURATIONS,
                "The duration of requests, from the head to the end of the response.",
                &BOUNDS.map(|bound| bound as f64 / 1e9),
                labels,
            )?,
            response_bytes: metrics.counter_with(
                RESPONSE_BYTES,
                "Bytes of response bodies sent.",
                ["http_route"],
            )?,
        })
    }

    /// The metrics of the route with this pattern, such as `/orders/{id}`; the caller keeps them.
    pub(crate) fn route(&self, pattern: &str) -> Arc<Route> {
        Arc::new(Route {
            pattern: pattern.into(),
            response_bytes: self.response_bytes.with([pattern]),
            durations: self.durations.clone(),
            methods: Default::default(),
        })
    }
}

impl Events for Http {
    fn connection_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    fn connection_closed(&self) {
        self.connections.dec();
    }

    fn connections_limited(&self, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connections_limit.set(limit);
    }

    fn connection_evicted(&self) {
        self.connections_evicted.inc();
    }

    fn accept_failed(&self) {
        self.accept_errors.inc();
    }

    fn send_timed_out(&self) {
        self.send_timeouts.inc();
    }

    fn refused(&self, reason: &'static str) {
        self.refused.with([reason]).inc();
    }

    /// A response that its client has not read counts as a request in flight, although the request itself has ended.
    fn response_left(&self, is_left: bool) {
        match is_left {
            true => {
                self.active_requests.enter();
            }
            false => self.active_requests.leave(),
        }
    }
}

// === impl Active ===

impl Active {
    /// Counts one more request. Returns the number before.
    pub(crate) fn enter(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes one request from the count.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The current number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Route ===

impl Route {
    /// The pattern with which the route was created.
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Counts bytes of a response's body that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        self.response_bytes.inc_by(bytes);
    }

    /// Counts a request and its response's body.
    pub(crate) fn record(&self, request: &FinishedRequest<'_>) {
        self.observe(request.method, request.status, request.duration);
        self.sent(request.response_bytes);
    }

    /// Counts a request that has ended.
    pub(crate) fn observe(&self, method: &Method, status: StatusCode, duration: Duration) {
        let method = index(method);
        let mut slot = &self.methods[method];
        loop {
            // A thread that loses the race to fill a slot looks for its status in the next one.
            let series = slot.get_or_init(|| Box::new(self.series(METHODS[method], status)));
            if series.status == status {
                return series.durations.observe_duration(duration);
            }
            slot = &series.next;
        }
    }

    fn series(&self, method: &str, status: StatusCode) -> Series {
        let labels = [method, status.as_str(), &*self.pattern];
        Series {
            status,
            durations: self.durations.with(labels),
            next: OnceLock::new(),
        }
    }
}

/// The position in [`METHODS`].
fn index(method: &Method) -> usize {
    // A search in `METHODS` would cost each request 18 instructions more.
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        // Old versions of the crate `http` have no constant for it.
        _ if method.as_str() == "QUERY" => 9,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::gzip;

    /// The value of one series in Prometheus' text.
    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find(|line| {
            line.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn a_request_is_observed_by_route_method_and_status() {
        let metrics = Metrics::new();
        let http = metrics.http().unwrap();
        let route = http.route("/orders/{id}");
        route.observe(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        route.observe(&Method::GET, StatusCode::OK, Duration::from_secs(60));
        route.observe(
            &Method::GET,
            StatusCode::NOT_FOUND,
            Duration::from_millis(3),
        );
        for method in ["BREW", "QUERY"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let route = http.route("/orders/{id}");
            route.observe(&method, StatusCode::METHOD_NOT_ALLOWED, Duration::ZERO);
        }
        route.sent(100);
        http.route("/orders/{id}").sent(20);

        let (content_type, text) = metrics.encode(None);
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        let series = |part: &str, method: &str, status: u16, le: &str| {
            format!(
                "http_server_request_duration_seconds{part}{{http_request_method=\"{method}\",\
                 http_response_status_code=\"{status}\",http_route=\"/orders/{{id}}\"{le}}}"
            )
        };
        let count = |method, status| value(&text, &series("_count", method, status, ""));
        assert_eq!(count("GET", 200), Some(2.0));
        assert_eq!(count("GET", 404), Some(1.0));
        assert_eq!(count("_OTHER", 405), Some(1.0));
        assert_eq!(count("QUERY", 405), Some(1.0));
        let sent = "http_server_response_bytes_total{http_route=\"/orders/{id}\"}";
        assert_eq!(value(&text, sent), Some(120.0));
        let bucket = |le: &str| {
            value(
                &text,
                &series("_bucket", "GET", 200, &format!(",le=\"{le}\"")),
            )
        };
        assert_eq!(bucket("0.0025"), Some(0.0));
        assert_eq!(bucket("0.005"), Some(1.0));
        assert_eq!(bucket("10.0"), Some(1.0));
        assert_eq!(bucket("+Inf"), Some(2.0));
        assert_eq!(value(&text, &series("_sum", "GET", 200, "")), Some(60.003));
    }

    #[test]
    fn requests_that_race_to_a_new_status_are_all_counted() {
        let metrics = Metrics::new();
        let route = metrics.http().unwrap().route("/");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for status in 200..300 {
                        let status = StatusCode::from_u16(status).unwrap();
                        route.observe(&Method::GET, status, Duration::ZERO);
                    }
                });
            }
        });
        let (_, text) = metrics.encode(None);
        let counts: Vec<_> = text
            .lines()
            .filter(|line| line.contains("_duration_seconds_count"))
            .collect();
        assert_eq!(counts.len(), 100);
        assert!(counts.iter().all(|line| line.ends_with(" 8")), "{counts:?}");
    }

    #[test]
    fn a_scrape_of_thousands_of_series_is_gzipped_and_reads_back() {
        use std::io::Read;

        let metrics = Metrics::new();
        let http = metrics.http().unwrap();
        for number in 0..125 {
            let route = http.route(&format!("/items-{number}/{{id}}"));
            route.observe(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        }
        let (_, text) = metrics.encode(None);
        assert_eq!(text.matches("le=\"").count(), 125 * 17);
        let compressed = gzip(text.as_bytes());
        assert!(compressed.len() * 10 < text.len());
        let mut back = String::new();
        flate2::read::GzDecoder::new(compressed.as_slice())
            .read_to_string(&mut back)
            .unwrap();
        assert_eq!(back, text);
    }
}
