//! The output of a scrape.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_chassis::metrics::{Counter, Family, Metrics};
use axum_chassis::request::RequestLayer;
use axum_chassis::{limits, logs};
use http::Request;
use tower::ServiceExt;

/// The value of one series in Prometheus' text.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_service_registers_metrics_of_its_own() {
    let metrics = Metrics::new();
    let orders: Family<Counter, 1> = metrics
        .counter_with("orders_total", "Orders.", ["kind"])
        .unwrap();
    orders.with(["a\"b"]).inc_by(2);
    let shelves = metrics
        .gauge_with("shelf_fill", "Shelves.", ["room", "shelf"])
        .unwrap();
    shelves.with(["cellar", "3"]).set(0.5);
    shelves.with(["cellar", "3"]).add(-0.25);
    let waits = metrics
        .histogram_with("wait_seconds", "Waits.", &[0.1, 1.0], ["queue"])
        .unwrap();
    waits
        .with(["mail"])
        .observe_duration(Duration::from_millis(250));
    metrics
        .gauge_fn("pool_size", "Pool.", &[("pool", "main")], || 4.5)
        .unwrap();
    metrics
        .gauge_fn("pool_size", "Pool.", &[("pool", "spare")], || 0.0)
        .unwrap();
    let (_, text) = metrics.encode(None);
    for (series, expected) in [
        (r#"orders_total{kind="a\"b"}"#, 2.0),
        (r#"shelf_fill{room="cellar",shelf="3"}"#, 0.25),
        (r#"wait_seconds_bucket{queue="mail",le="0.1"}"#, 0.0),
        (r#"wait_seconds_bucket{queue="mail",le="1.0"}"#, 1.0),
        (r#"wait_seconds_sum{queue="mail"}"#, 0.25),
        (r#"pool_size{pool="main"}"#, 4.5),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    assert_eq!(text.matches("# TYPE pool_size gauge").count(), 1);
}

#[test]
fn each_combination_of_the_values_of_labels_is_a_series_of_its_own() {
    let metrics = Metrics::new();
    let labels = ["room", "shelf"];
    let counters = metrics.counter_with("moves_total", "Moves.", labels);
    let gauges = metrics.gauge_with("fill", "Fill.", labels);
    let histograms = metrics.histogram_with("weight_kilograms", "Weights.", &[1.0], labels);
    let (counters, gauges, histograms) = (counters.unwrap(), gauges.unwrap(), histograms.unwrap());
    // In a row, the values of all of them are the same text.
    let combinations = [["cellar1", "3"], ["cellar", "13"], ["", "cellar13"]];
    for (values, number) in combinations.into_iter().zip(1..) {
        counters.with(values).inc_by(number);
        gauges.with(values).set(number as f64);
        histograms.with(values).observe(number as f64);
    }
    assert_eq!(counters.with(["cellar", "13"]).get(), 2);
    let (_, text) = metrics.encode(None);
    for ([room, shelf], number) in combinations.into_iter().zip(1..) {
        for (name, expected) in [
            ("moves_total", f64::from(number)),
            ("fill", f64::from(number)),
            ("weight_kilograms_sum", f64::from(number)),
            ("weight_kilograms_count", 1.0),
        ] {
            let series = format!("{name}{{room=\"{room}\",shelf=\"{shelf}\"}}");
            assert_eq!(value(&text, &series), Some(expected), "{series} in {text}");
        }
    }
    for kind in [
        "moves_total counter",
        "fill gauge",
        "weight_kilograms histogram",
    ] {
        let line = format!("# TYPE {kind}\n");
        assert_eq!(text.matches(&line).count(), 1, "{kind} in {text}");
    }
}

#[test]
fn an_invalid_histogram_with_labels_is_an_error_at_its_registration() {
    let metrics = Metrics::new();
    let error = |buckets: &[f64], label| {
        let histograms = metrics.histogram_with("wait_seconds", "Waits.", buckets, [label]);
        histograms.unwrap_err().to_string()
    };
    assert_eq!(
        error(&[1.0, 0.1], "queue"),
        "invalid metric \"wait_seconds\": histogram buckets must be in increasing order: 1 >= 0.1"
    );
    assert_eq!(
        error(&[0.1, 1.0], "le"),
        "invalid metric \"wait_seconds\": `le` is not allowed as label name in histograms"
    );
    // Neither has taken the name.
    let valid = metrics.histogram_with("wait_seconds", "Waits.", &[0.1, 1.0], ["queue"]);
    valid.unwrap().with(["mail"]).observe(0.5);
}

#[test]
fn an_invalid_metric_is_named_with_the_reason() {
    let metrics = Metrics::new();
    metrics.counter("orders_total", "Orders.").unwrap();
    let error = |invalid: axum_chassis::metrics::InvalidMetric| invalid.to_string();
    let taken = "invalid metric \"orders_total\": already registered";
    let again = metrics.counter("orders_total", "Orders.").unwrap_err();
    assert_eq!(error(again), taken);
    let other = metrics.counter_fn("orders_total", "Taken.", &[("kind", "gift")], || 1.0);
    let other = other.unwrap_err();
    assert_eq!(
        error(other),
        format!("{taken} with other labels or another help text")
    );
    let name = metrics.counter("orders taken", "Orders.").unwrap_err();
    assert_eq!(
        error(name),
        "invalid metric \"orders taken\": 'orders taken' is not a valid metric name"
    );
    let label = metrics
        .counter_with("taken_total", "Orders.", ["kind of"])
        .unwrap_err();
    assert_eq!(
        error(label),
        "invalid metric \"taken_total\": 'kind of' is not a valid label name"
    );
}

#[test]
fn a_collector_of_a_library_is_exposed_beside_the_others() {
    let metrics = Metrics::new();
    let gauge = prometheus::IntGauge::new("pool_size", "Connections.").unwrap();
    gauge.set(7);
    let registry = metrics.prometheus_registry();
    registry.register(Box::new(gauge)).unwrap();
    assert_eq!(value(&metrics.encode(None).1, "pool_size"), Some(7.0));
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
    let output = logs::Output::to(std::io::sink());
    let logs = logs::start(&logs::Settings::default(), output).unwrap();
    let layer = RequestLayer::new(&limits::Settings::default(), &logs, &metrics).unwrap();
    let router = Router::new().route("/", get("hello")).layer(layer);
    let request = Request::new(Body::empty());
    assert_eq!(router.oneshot(request).await.unwrap().status(), 200);
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
