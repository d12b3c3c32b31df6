//! The output of a scrape.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum_chassis::metrics::{Metrics, accepts_gzip, gzip};
use http::{Method, StatusCode};

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
    let brew = Method::from_bytes(b"BREW").unwrap();
    http.route("/orders/{id}")
        .observe(&brew, StatusCode::METHOD_NOT_ALLOWED, Duration::ZERO);
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
fn a_service_registers_metrics_of_its_own() {
    let metrics = Metrics::new();
    let orders = metrics
        .counter_vec("orders_total", "Orders.", &["kind"])
        .unwrap();
    orders.with_label_values(&["a\"b"]).inc_by(2);
    metrics
        .gauge_fn("pool_size", "Pool.", &[("pool", "main")], || 4.5)
        .unwrap();
    metrics
        .gauge_fn("pool_size", "Pool.", &[("pool", "spare")], || 0.0)
        .unwrap();
    assert!(metrics.gauge("orders_total", "Taken.").is_err());
    let (_, text) = metrics.encode(None);
    assert_eq!(value(&text, "orders_total{kind=\"a\\\"b\"}"), Some(2.0));
    assert_eq!(value(&text, "pool_size{pool=\"main\"}"), Some(4.5));
    assert_eq!(text.matches("# TYPE pool_size gauge").count(), 1);
}

#[test]
fn openmetrics_is_returned_to_clients_that_prefer_it() {
    let metrics = Metrics::new();
    metrics.counter("orders_total", "Orders.").unwrap().inc();
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let (content_type, text) = metrics.encode(Some(prometheus_3));
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert_eq!(
        text,
        "# HELP orders Orders.\n# TYPE orders counter\norders_total 1\n# EOF\n"
    );
    for accept in ["text/plain", "*/*", "application/openmetrics-text;q=0", ""] {
        let (content_type, _) = metrics.encode(Some(accept));
        assert!(content_type.starts_with("text/plain"), "{accept}");
    }
}

#[tokio::test]
async fn the_metrics_include_the_process_and_the_runtime() {
    let metrics = Metrics::new();
    metrics.machine().unwrap();
    metrics.runtime(&tokio::runtime::Handle::current()).unwrap();
    metrics
        .build_info(&[("name", "orders"), ("version", "1.2.3")])
        .unwrap();
    let (_, text) = metrics.encode(None);
    assert_eq!(
        value(&text, "build_info{name=\"orders\",version=\"1.2.3\"}"),
        Some(1.0)
    );
    assert_eq!(value(&text, "tokio_workers"), Some(1.0));
    if cfg!(target_os = "linux") {
        let resident = value(&text, "process_resident_memory_bytes").unwrap();
        assert!((1e5..1e10).contains(&resident), "{resident}");
        let started = value(&text, "process_start_time_seconds").unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!((0.0..600.0).contains(&(now - started)), "{}", now - started);
        assert!(value(&text, "process_open_fds").unwrap() >= 3.0);
        assert!(value(&text, "process_max_fds").unwrap() >= 3.0);
        assert!(value(&text, "process_threads").unwrap() >= 1.0);
    }
}

#[tokio::test]
#[ignore = "needs promtool"]
async fn promtool_finds_no_errors() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let metrics = Metrics::new();
    metrics.machine().unwrap();
    metrics.runtime(&tokio::runtime::Handle::current()).unwrap();
    let http = metrics.http().unwrap();
    http.route("/")
        .observe(&Method::GET, StatusCode::OK, Duration::from_millis(3));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    let (_, text) = metrics.encode(None);
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
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

#[test]
fn gzip_is_used_only_if_accepted() {
    for (header, accepted) in [
        (Some("gzip"), true),
        (Some("br, GZIP;q=0.5"), true),
        (Some("gzip;q=0"), false),
        (Some("identity"), false),
        (None, false),
    ] {
        assert_eq!(accepts_gzip(header), accepted, "{header:?}");
    }
}
