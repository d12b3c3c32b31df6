//! Exported log records, as a collector receives them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::Value as Json;

use crate::client::get;
use crate::collector::{Answer, Answering, Collector, Hanging, Received, unused_address};
use crate::program::{Setup, eventually};

/// A service that exports logs alone.
fn exporting(endpoint: &str) -> Setup {
    Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_TRACES_EXPORTER", "none")
        .variable("OTEL_METRICS_EXPORTER", "none")
        .variable("OTEL_BLRP_SCHEDULE_DELAY", 50)
        .set("shutdown.hook_timeout", "1s")
}

fn records(received: &[Received]) -> Vec<LogRecord> {
    let requests = received.iter().filter(|request| request.path == "/v1/logs");
    let decoded = requests.map(|request| ExportLogsServiceRequest::decode(&request.body[..]));
    let resources = decoded.flat_map(|request| request.unwrap().resource_logs);
    let scopes = resources.flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn body(record: &LogRecord) -> String {
    match record.body.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(record: &LogRecord) -> BTreeMap<String, Json> {
    let value = |value: Value| match value {
        Value::StringValue(text) => text.into(),
        Value::IntValue(number) => number.into(),
        Value::DoubleValue(number) => number.into(),
        Value::BoolValue(is_true) => is_true.into(),
        other => panic!("{other:?}"),
    };
    let pairs = record.attributes.iter().cloned();
    pairs
        .map(|one| (one.key, value(one.value.unwrap().value.unwrap())))
        .collect()
}

/// The line without the fields that have places of their own in a record.
fn fields(line: &Json) -> BTreeMap<String, Json> {
    let own = ["timestamp", "level", "message", "trace_id", "span_id"];
    let all = line.as_object().unwrap().iter();
    all.filter(|(key, _)| !own.contains(&&***key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn lines<'a>(log: &'a [Json], message: &str) -> Vec<&'a Json> {
    let is_it = |line: &&Json| {
        line["message"]
            .as_str()
            .is_some_and(|it| it.contains(message))
    };
    log.iter().filter(is_it).collect()
}

#[test]
fn every_line_from_the_first_to_the_last_arrives_as_a_record() {
    let collector = Answering::start(&["200 OK"]);
    let program = exporting(&collector.endpoint())
        .variable("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 3)
        .start();
    for _ in 0..5 {
        assert_eq!(get(program.main, "/").status, 200);
    }
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let records = records(&collector.received());
    assert_eq!(records.len(), log.len(), "{log:#?}");
    for (record, line) in records.iter().zip(&log) {
        assert_eq!(body(record), line["message"]);
        assert_eq!(record.severity_text, line["level"]);
        assert!(record.severity_number > 0, "{record:?}");
        assert!(record.time_unix_nano <= record.observed_time_unix_nano);
        for (id, key) in [(&record.trace_id, "trace_id"), (&record.span_id, "span_id")] {
            assert_eq!(hex(id), line[key].as_str().unwrap_or_default());
        }
        assert_eq!(attributes(record), fields(line));
    }
    assert_eq!(body(&records[0]), "exporting logs");
    assert_eq!(body(records.last().unwrap()), "stopped");
}

#[test]
fn a_collector_that_hangs_delays_neither_requests_nor_the_stop() {
    let hanging = Hanging::start();
    let program = exporting(&hanging.endpoint())
        .set("shutdown.deadline", "4s")
        .start();
    eventually("it is asked", || hanging.is_asked());
    for _ in 0..3 {
        assert_eq!(get(program.main, "/").status, 200);
    }
    let began = Instant::now();
    let (code, log) = program.stop();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(code, Some(0), "{log:#?}");
    let late = lines(&log, "log records not exported before the timeout");
    assert_eq!(late.len(), 1, "{log:#?}");
    assert_eq!(lines(&log, "request").len(), 3, "stdout has all lines");
}

#[test]
fn lost_records_are_counted_and_reported_once_and_reports_do_not_cause_reports() {
    let message = "too many";
    let partly = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 1,
            error_message: message.to_owned(),
        }),
    };
    let partly = Answering::with(vec![Answer {
        status: "200 OK",
        body: partly.encode_to_vec(),
        ..Answer::default()
    }]);
    let refusing = Answering::start(&["400 Bad Request"]);
    let too_large = Answering::start(&["413 Payload Too Large"]);
    let partial = (partly.endpoint(), "rejected a part", message);
    let refused = (refusing.endpoint(), "the export failed", "400 Bad Request");
    let large = (
        too_large.endpoint(),
        "the export failed",
        "413 Payload Too Large",
    );
    for (endpoint, about, reason) in [partial, refused, large] {
        let program = exporting(&endpoint).start();
        let refused = r#"log_records_dropped_total{reason="refused"}"#;
        eventually("it is counted", || program.metric(refused) >= 1.0);
        for round in 0..3 {
            let before = program.metric(refused);
            assert_eq!(get(program.main, "/").status, 200);
            eventually(&format!("round {round}"), || {
                program.metric(refused) > before
            });
        }
        let (code, log) = program.stop();
        assert_eq!(code, Some(0), "{log:#?}");
        let reports = lines(&log, "log records dropped");
        assert_eq!(reports.len(), 1, "{log:#?}");
        assert!(reports[0]["message"].as_str().unwrap().contains(about));
        assert!(reports[0]["error"].as_str().unwrap().contains(reason));
    }
}

#[test]
fn an_export_is_retried_after_429() {
    let collector = Answering::with(vec![
        Answer {
            status: "429 Too Many Requests",
            headers: "retry-after: 0\r\n".to_owned(),
            ..Answer::default()
        },
        Answer {
            status: "200 OK",
            ..Answer::default()
        },
    ]);
    let program = exporting(&collector.endpoint()).start();
    eventually("it is accepted", || {
        program.metric("log_records_exported_total") >= 1.0
    });
    assert_eq!(
        program.metric(r#"log_records_dropped_total{reason="refused"}"#),
        0.0
    );
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let received = collector.received();
    assert_eq!(received[0].body, received[1].body);
}

#[test]
fn without_a_collector_the_waiting_records_stay_within_the_log_buffer() {
    let endpoint = unused_address();
    let program = exporting(&endpoint).set("logs.buffer", "8KiB").start();
    let no_room = r#"log_records_dropped_total{reason="no_room"}"#;
    eventually("records are dropped", || {
        assert_eq!(get(program.main, "/").status, 200);
        program.metric(no_room) > 0.0
    });
    assert_eq!(
        program.metric("log_lines_dropped_total"),
        0.0,
        "stdout is not affected"
    );
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
}

#[test]
fn logs_in_text_are_not_exported_and_a_warning_tells_what_to_change() {
    let collector = Answering::start(&["200 OK"]);
    let ended = exporting(&collector.endpoint())
        .set("logs.format", "text")
        .run("migrate");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("set logs.format to json"), "{said}");
    assert_eq!(collector.requests(), 0);
}

#[test]
fn each_signal_can_be_turned_off() {
    let collector = Answering::start(&["200 OK"]);
    let program = Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .variable("OTEL_LOGS_EXPORTER", "none")
        .start();
    assert_eq!(get(program.main, "/").status, 200);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let received = collector.received();
    let paths: Vec<_> = received.iter().map(|request| &*request.path).collect();
    for (path, is_sent) in [
        ("/v1/traces", true),
        ("/v1/metrics", true),
        ("/v1/logs", false),
    ] {
        assert_eq!(paths.contains(&path), is_sent, "{path}: {paths:?}");
    }
}

#[test]
fn a_record_has_the_trace_id_of_the_span_that_arrived() {
    let collector = Answering::start(&["200 OK"]);
    let program = Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .start();
    assert_eq!(get(program.main, "/").status, 200);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let received = collector.received();
    let traces = received.iter().find(|request| request.path == "/v1/traces");
    let traces = ExportTraceServiceRequest::decode(&traces.expect("spans").body[..]).unwrap();
    let span = &traces.resource_spans[0].scope_spans[0].spans[0];
    let records = records(&received);
    let access = records.iter().find(|record| body(record) == "request");
    let access = access.expect("an access line");
    assert_eq!(access.trace_id, span.trace_id);
    assert_eq!(access.span_id, span.span_id);
}

#[test]
#[ignore = "needs rotel"]
fn a_collector_accepts_the_log_records() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint()).start();
    get(program.main, "/");
    eventually("it accepts them", || {
        program.metric("log_records_exported_total") >= 3.0
    });
    assert_eq!(
        program.metric(r#"log_records_dropped_total{reason="refused"}"#),
        0.0
    );
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    assert_eq!(lines(&log, "log records"), [] as [&Json; 0]);
    let output = collector.output();
    for text in ["exporting logs", "request", "stopped"] {
        assert!(output.contains(text), "{text}: {output}");
    }
}
