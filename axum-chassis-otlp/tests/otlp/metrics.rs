//! Exported metrics, as a collector receives them.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message;
use serde_json::Value as Json;

use crate::client::{Connection, get};
use crate::collector::{Answering, Collector, Hanging, Received, unused_address};
use crate::dropped_spans::partly;
use crate::own_main;
use crate::program::{Setup, eventually};

/// A service that exports metrics alone.
fn exporting(endpoint: &str) -> Setup {
    Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_TRACES_EXPORTER", "none")
        .variable("OTEL_LOGS_EXPORTER", "none")
        .set("shutdown.hook_timeout", "1s")
}

fn decoded(request: &Received) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&request.body[..]).unwrap()
}

fn text(value: &KeyValue) -> String {
    match value.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The values of the series, by name and attributes: the number of a counter or gauge, and the count of a histogram,
/// its sum and its buckets. Histograms and counters are added to the values of previous exports if `is_delta`.
fn add(values: &mut BTreeMap<String, Vec<f64>>, request: &Received, is_delta: bool) {
    let export = decoded(request);
    for metric in &export.resource_metrics[0].scope_metrics[0].metrics {
        let mut add = |attributes: &[KeyValue], new: Vec<f64>, adds: bool| {
            let attributes: Vec<_> = attributes
                .iter()
                .map(|one| format!("{}={}", one.key, text(one)))
                .collect();
            let key = format!("{}{{{}}}", metric.name, attributes.join(","));
            let old = values.entry(key).or_insert_with(|| vec![0.0; new.len()]);
            for (old, new) in old.iter_mut().zip(new) {
                *old = if adds { *old + new } else { new };
            }
        };
        let number = |value: &Option<Number>| match value {
            Some(Number::AsDouble(value)) => *value,
            other => panic!("{other:?}"),
        };
        // Delta is 1, cumulative is 2.
        let temporality = if is_delta { 1 } else { 2 };
        match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    add(&point.attributes, vec![number(&point.value)], false);
                }
            }
            Data::Sum(sum) => {
                assert_eq!(sum.aggregation_temporality, temporality);
                for point in &sum.data_points {
                    add(&point.attributes, vec![number(&point.value)], is_delta);
                }
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, temporality);
                for point in &histogram.data_points {
                    let buckets = point.bucket_counts.iter().map(|count| *count as f64);
                    let numbers = [point.count as f64, point.sum.unwrap()];
                    let numbers = numbers.into_iter().chain(buckets).collect();
                    add(&point.attributes, numbers, is_delta);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The start and end times of counters and histograms.
fn times(request: &Received) -> BTreeSet<(u64, u64)> {
    let export = decoded(request);
    let metrics = export.resource_metrics[0].scope_metrics[0].metrics.iter();
    let data = metrics.map(|metric| metric.data.as_ref().unwrap());
    let times = data.flat_map(|data| match data {
        Data::Sum(sum) => (sum.data_points.iter())
            .map(|point| (point.start_time_unix_nano, point.time_unix_nano))
            .collect(),
        Data::Histogram(histogram) => (histogram.data_points.iter())
            .map(|point| (point.start_time_unix_nano, point.time_unix_nano))
            .collect(),
        _ => Vec::new(),
    });
    times.collect()
}

fn lines<'a>(log: &'a [Json], message: &str) -> Vec<&'a Json> {
    log.iter()
        .filter(|line| line["message"] == message)
        .collect()
}

#[test]
fn the_values_after_a_stop_equal_the_scrape_and_the_last_request() {
    // A failed export in between loses nothing.
    let statuses = ["200 OK", "400 Bad Request", "200 OK"];
    for (temporality, interval) in [
        ("cumulative", 100),
        ("delta", 100),
        // The only export is that at the stop.
        ("cumulative", 3_600_000),
        ("delta", 3_600_000),
    ] {
        let collector = Answering::start(if interval == 100 {
            &statuses
        } else {
            &["200 OK"]
        });
        let program = exporting(&collector.endpoint())
            .variable("OTEL_METRIC_EXPORT_INTERVAL", interval)
            .variable(
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                temporality,
            )
            .start();
        for round in 0..5 {
            for path in ["/", "/number/7", "/number/x", "/nowhere"] {
                assert_ne!(get(program.main, path).status, 500);
            }
            if interval == 100 {
                let before = collector.requests();
                eventually("an export", || collector.requests() > before || round == 0);
            }
        }
        let series = |name: &str, status: u16, route: &str| {
            format!(
                "http_server_request_duration_seconds_{name}\
                 {{http_request_method=\"GET\",http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
            )
        };
        let scraped = |status, route: &str| {
            ["count", "sum"].map(|name| program.metric(&series(name, status, route)))
        };
        let expected = [
            (200, "/", scraped(200, "/")),
            (404, "", scraped(404, "unmatched")),
        ];
        let sent = program.metric("http_server_response_bytes_total{http_route=\"/\"}");
        // In flight when the stop begins.
        let mut connection = Connection::open(program.main).unwrap();
        connection
            .send(b"GET /sleep/400 HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        eventually("it is served", || {
            program.metric("http_server_active_requests") == 1.0
        });
        let (code, log) = program.stop();
        assert_eq!(code, Some(0), "{log:#?}");

        let mut values = BTreeMap::new();
        let mut index = 0;
        let mut start = None;
        for request in collector.received() {
            let times = Vec::from_iter(times(&request));
            let [(since, now)] = times[..] else {
                panic!("all points have the same times: {times:?}");
            };
            assert!(since < now, "{times:?}");
            assert_eq!(since, *start.get_or_insert(since), "{temporality} {index}");
            // Without the export that failed: its values are in the next one.
            if interval == 3_600_000 || index != 1 {
                add(&mut values, &request, temporality == "delta");
                if temporality == "delta" {
                    start = Some(now);
                }
            }
            index += 1;
        }
        assert!(index == 1 || interval == 100, "{index}");
        let value = |key: &str| {
            let found = values.get(key);
            found.unwrap_or_else(|| panic!("no {key} in {values:#?}"))
        };
        let duration = |status: u16, route: &str| {
            let route = match route {
                "" => String::new(),
                route => format!(",http.route={route}"),
            };
            value(&format!(
                "http.server.request.duration{{http.request.method=GET,\
                 http.response.status_code={status}{route},url.scheme=http}}"
            ))
        };
        for (status, route, [count, sum]) in expected {
            let exported = duration(status, route);
            assert_eq!(exported[0], count, "{temporality} {status} {route}");
            assert!((exported[1] - sum).abs() < 1e-9, "{exported:?} {sum}");
            let buckets: f64 = exported[2..].iter().sum();
            assert_eq!(buckets, count);
        }
        assert_eq!(duration(200, "/sleep/{ms}")[0], 1.0);
        let bytes = value("http_server_response_bytes_total{http.route=/}");
        assert_eq!(bytes, &[sent]);
        assert_eq!(value("http_server_active_requests{}"), &[0.0]);
    }
}

#[test]
fn an_export_names_the_service_and_its_instance() {
    let collector = Answering::start(&["200 OK"]);
    let program = exporting(&collector.endpoint())
        .variable("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1")
        .start();
    program.stop();
    let received = collector.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].path, "/v1/metrics");
    let export = decoded(&received[0]);
    let resource = export.resource_metrics[0].resource.as_ref().unwrap();
    let attributes: BTreeMap<_, _> = resource
        .attributes
        .iter()
        .map(|one| (&*one.key, text(one)))
        .collect();
    assert_eq!(attributes["service.name"], "subject");
    assert_eq!(attributes["service.version"], "1.2.3");
    assert_eq!(attributes["k8s.pod.name"], "pod-1");
    assert_eq!(attributes["service.instance.id"].len(), 36);
    let scope = &export.resource_metrics[0].scope_metrics[0].scope;
    assert_eq!(scope.as_ref().unwrap().name, "axum-chassis-otlp");
}

#[test]
fn a_collector_that_hangs_delays_the_stop_by_the_time_of_a_hook() {
    let hanging = Hanging::start();
    let program = exporting(&hanging.endpoint())
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 50)
        .start();
    eventually("it is asked", || hanging.is_asked());
    assert_eq!(get(program.main, "/").status, 200);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let late = lines(&log, "metrics not exported before the timeout");
    assert_eq!(late.len(), 1, "{log:#?}");
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    assert!((900.0..2500.0).contains(&stopped), "{stopped}");
}

#[test]
fn a_collector_of_traces_that_hangs_does_not_prevent_the_final_metrics() {
    let traces = Hanging::start();
    let metrics = Answering::start(&["200 OK"]);
    let program = Setup::default()
        .variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces.endpoint())
        .variable("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics.endpoint())
        .set("shutdown.hook_timeout", "1s")
        .start();
    assert_eq!(get(program.main, "/").status, 200);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(traces.is_asked());
    assert_eq!(metrics.requests(), 1);
    let late = |signal| lines(&log, &format!("{signal} not exported before the timeout")).len();
    assert_eq!((late("spans"), late("metrics")), (1, 0), "{log:#?}");
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    assert!((900.0..2500.0).contains(&stopped), "{stopped}");
}

#[test]
fn failed_exports_are_counted_and_logged_once_a_minute() {
    let program = exporting(&unused_address())
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 20)
        .variable("OTEL_METRIC_EXPORT_TIMEOUT", 20)
        .start();
    let failed = r#"metric_exports_total{result="failed"}"#;
    eventually("three exports fail", || program.metric(failed) >= 3.0);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let said = lines(&log, "metrics not exported");
    assert_eq!(said.len(), 1, "{log:#?}");
    assert!(said[0]["error"].as_str().unwrap().contains("refused"));
}

#[test]
fn a_warning_about_metrics_is_logged_once() {
    let warning = Answering::with(vec![partly(0, "this endpoint is deprecated")]);
    let program = exporting(&warning.endpoint())
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 50)
        .start();
    let accepted = r#"metric_exports_total{result="accepted"}"#;
    eventually("it accepts three", || program.metric(accepted) >= 3.0);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let said = lines(&log, "the collector accepted metrics with a warning");
    assert_eq!(said.len(), 1, "{log:#?}");
    assert_eq!(said[0]["warning"], "this endpoint is deprecated");
}

#[test]
fn an_error_in_a_variable_of_all_signals_is_reported_once() {
    let said = Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "1m")
        .run("--check-config");
    assert_eq!(said.code, Some(78), "{}", said.stderr);
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRIC_EXPORT_INTERVAL"] {
        assert_eq!(said.stderr.matches(name).count(), 1, "{}", said.stderr);
    }
}

#[test]
fn a_program_without_a_server_exports_the_metrics_of_its_registry() {
    let collector = Answering::start(&["200 OK"]);
    let endpoint = collector.endpoint();
    let output = own_main::run(&[
        ("PARTS", ""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ]);
    own_main::log(&output);
    let received = collector.received();
    assert_eq!(received.len(), 1);
    let mut values = BTreeMap::new();
    add(&mut values, &received[0], false);
    let is_counted = |(key, value): (&String, &Vec<f64>)| {
        key.starts_with("http.server.request.duration") && value[0] == 1.0
    };
    assert!(values.iter().any(is_counted), "{values:#?}");
}

#[test]
#[ignore = "needs rotel"]
fn a_collector_accepts_the_metrics() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint())
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 50)
        .start();
    get(program.main, "/");
    let accepted = r#"metric_exports_total{result="accepted"}"#;
    eventually("it accepts two", || program.metric(accepted) >= 2.0);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    assert_eq!(lines(&log, "metrics not exported"), [] as [&Json; 0]);
    let names = collector.metrics();
    for name in [
        "http.server.request.duration",
        "http_server_active_requests",
        "build_info",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}
