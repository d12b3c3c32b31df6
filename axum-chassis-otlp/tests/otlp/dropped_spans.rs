//! Collectors that are of no use: they cost spans, and nothing else.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::Value;

use crate::client::{Connection, get};
use crate::collector::{Answer, Answering, Hanging, exporting, unused_address};
use crate::program::{Program, Setup, eventually};

const DEADLINE: Duration = Duration::from_secs(4);

fn lines<'a>(log: &'a [Value], about: &str) -> Vec<&'a Value> {
    let is_it = |line: &&Value| {
        line["message"]
            .as_str()
            .is_some_and(|said| said.contains(about))
    };
    log.iter().filter(is_it).collect()
}

fn start(setup: Setup) -> Program {
    let began = Instant::now();
    let program = setup
        .set("shutdown.deadline", format!("{}s", DEADLINE.as_secs()))
        .set("shutdown.hook_timeout", "1s")
        .start();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    program
}

/// Stops it in order: how long that took, and its log.
fn stop(program: Program) -> (Duration, Vec<Value>) {
    let began = Instant::now();
    let (code, log) = program.stop();
    let took = began.elapsed();
    assert_eq!(code, Some(0), "{log:#?}");
    (took, log)
}

#[test]
fn a_collector_that_hangs_delays_neither_start_nor_stop() {
    let hanging = Hanging::start();
    let program = start(exporting(&hanging.endpoint()));
    for _ in 0..3 {
        assert_eq!(get(program.main, "/").status, 200);
    }
    eventually("it is asked", || hanging.is_asked());
    let (_, log) = stop(program);
    let lost = lines(&log, "spans not exported before the timeout");
    assert_eq!(lost.len(), 1, "{log:#?}");
    assert_eq!(lost[0]["spans"], 3);
    assert_eq!(lost[0]["timeout_ms"], 1000);
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    // A hook's time, and no more.
    assert!((900.0..2500.0).contains(&stopped), "{stopped}");
}

#[test]
fn a_collector_that_hangs_does_not_move_the_deadline() {
    let hanging = Hanging::start();
    let program = start(exporting(&hanging.endpoint()).set("subject.hooks", "hangs"));
    let mut connection = Connection::open(program.main).unwrap();
    connection
        .send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    connection.answer().unwrap();
    let began = Instant::now();
    let (code, log) = program.stop();
    assert_eq!(code, Some(1), "{log:#?}");
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    assert!(stopped <= DEADLINE.as_secs_f64() * 1e3 + 300.0, "{stopped}");
    assert!(
        began.elapsed() < DEADLINE + Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_unavailable_collector_causes_one_line_a_minute() {
    let program = start(
        exporting(&unused_address())
            // Each try fails for good at once.
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", 20)
            .variable("OTEL_BSP_SCHEDULE_DELAY", 1),
    );
    let refused = r#"trace_spans_dropped_total{reason="refused"}"#;
    for lost in 1..=10 {
        get(program.main, "/");
        eventually("it is lost", || program.metric(refused) >= f64::from(lost));
    }
    let (_, log) = stop(program);
    let said = lines(&log, "spans dropped");
    assert_eq!(said.len(), 1, "{log:#?}");
    assert_eq!(said[0]["level"], "WARN");
    assert!(
        said[0]["error"].as_str().unwrap().contains("refused"),
        "{said:?}"
    );
}

#[test]
fn a_shutdown_does_not_wait_for_an_unavailable_collector() {
    let program = start(exporting(&unused_address()).set("shutdown.hook_timeout", "3s"));
    assert_eq!(get(program.main, "/").status, 200);
    let (_, log) = stop(program);
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    assert!(stopped < 900.0, "{stopped}: there was another try");
    assert_eq!(lines(&log, "spans dropped")[0]["lost"], 1);
}

#[test]
fn a_shutdown_does_not_wait_for_the_next_retry() {
    let busy = Answering::start(&["503 Service Unavailable"]);
    let program = start(exporting(&busy.endpoint()).set("shutdown.hook_timeout", "3s"));
    get(program.main, "/");
    eventually("it is asked", || busy.requests() == 1);
    let (_, log) = stop(program);
    let stopped = lines(&log, "stopped")[0]["duration_ms"].as_f64().unwrap();
    assert!(stopped < 700.0, "{stopped}: it waited");
    assert_eq!(busy.requests(), 2, "once more, as the last chance");
}

#[test]
fn dropped_spans_are_counted() {
    let hanging = Hanging::start();
    let program = start(
        exporting(&hanging.endpoint())
            .variable("OTEL_BSP_MAX_QUEUE_SIZE", 2)
            .variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1),
    );
    get(program.main, "/");
    eventually("it is asked", || hanging.is_asked());
    for _ in 0..5 {
        assert_eq!(get(program.main, "/").status, 200);
    }
    let no_room = r#"trace_spans_dropped_total{reason="no_room"}"#;
    eventually("three find no room", || program.metric(no_room) == 3.0);
    stop(program);
}

#[test]
fn an_export_to_a_busy_collector_is_retried() {
    let busy = Answering::start(&["503 Service Unavailable", "200 OK"]);
    let program = start(exporting(&busy.endpoint()));
    get(program.main, "/");
    eventually("it takes the span", || {
        program.metric("trace_spans_exported_total") == 1.0
    });
    assert_eq!(busy.requests(), 2);
    let (_, log) = stop(program);
    assert_eq!(lines(&log, "spans dropped"), [] as [&Value; 0]);
}

#[test]
fn an_export_that_the_collector_rejects_is_not_retried() {
    for status in [
        "301 Moved Permanently",
        "400 Bad Request",
        "401 Unauthorized",
        "413 Payload Too Large",
        "500 Internal Server Error",
    ] {
        let wrong = Answering::start(&[status, "200 OK"]);
        let program = start(exporting(&wrong.endpoint()));
        get(program.main, "/");
        let refused = r#"trace_spans_dropped_total{reason="refused"}"#;
        eventually("it is lost", || program.metric(refused) == 1.0);
        get(program.main, "/");
        eventually("the next is not", || {
            program.metric("trace_spans_exported_total") == 1.0
        });
        let (_, log) = stop(program);
        assert_eq!(wrong.requests(), 2, "{status}");
        let said = lines(&log, "spans dropped");
        assert_eq!(said[0]["error"], format!("the collector returned {status}"));
        assert_eq!(lines(&log, "the collector accepts spans again").len(), 1);
    }
}

#[test]
fn a_retry_waits_for_the_time_that_the_collector_asks_for() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(5));
    for (status, value) in [
        ("429 Too Many Requests", "3".to_owned()),
        ("503 Service Unavailable", date),
    ] {
        let busy = Answering::with(vec![
            Answer {
                status,
                headers: format!("retry-after: {value}\r\n"),
                ..Answer::default()
            },
            Answer {
                status: "200 OK",
                ..Answer::default()
            },
        ]);
        let date = httpdate::parse_http_date(&value).ok();
        let program = start(exporting(&busy.endpoint()));
        get(program.main, "/");
        eventually("it takes the span", || {
            program.metric("trace_spans_exported_total") == 1.0
        });
        let received = busy.received();
        let waited = received[1].at - received[0].at;
        match date {
            Some(date) => assert!(SystemTime::now() >= date, "{value}"),
            None => assert!(waited >= Duration::from_secs(3), "{waited:?}"),
        }
        stop(program);
    }
}

/// A response to an export that the collector accepted in part, or with a warning. For metrics, it has the same encoding.
pub(crate) fn partly(rejected_spans: i64, message: &str) -> Answer {
    let response = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: message.to_owned(),
        }),
    };
    Answer {
        status: "200 OK",
        headers: "content-type: application/x-protobuf\r\n".to_owned(),
        body: response.encode_to_vec(),
    }
}

#[test]
fn spans_that_the_collector_rejects_from_a_batch_are_counted_as_dropped() {
    let partial = Answering::with(vec![partly(2, "attribute too long")]);
    let program = start(exporting(&partial.endpoint()));
    let refused = r#"trace_spans_dropped_total{reason="refused"}"#;
    for _ in 0..3 {
        get(program.main, "/");
    }
    eventually("the spans are exported", || {
        program.metric("trace_spans_exported_total") + program.metric(refused) == 3.0
    });
    let batches = partial.requests();
    let lost = program.metric(refused);
    // At most two of each batch.
    assert!(lost >= 2.0 && lost <= 2.0 * batches as f64, "{lost}");
    get(program.main, "/");
    eventually("the next is lost", || program.metric(refused) == lost + 1.0);
    assert_eq!(partial.requests(), batches + 1, "nothing is sent again");
    let (_, log) = stop(program);
    let said = lines(&log, "spans dropped");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0]["error"], "attribute too long");
}

#[test]
fn a_warning_of_the_collector_is_logged_once() {
    let warning = Answering::with(vec![partly(0, "this endpoint is deprecated")]);
    let program = start(exporting(&warning.endpoint()));
    for exported in 1..=3 {
        get(program.main, "/");
        eventually("it is exported", || {
            program.metric("trace_spans_exported_total") == f64::from(exported)
        });
    }
    let (_, log) = stop(program);
    let said = lines(&log, "with a warning");
    assert_eq!(said.len(), 1, "{log:#?}");
    assert_eq!(said[0]["warning"], "this endpoint is deprecated");
    assert_eq!(lines(&log, "spans dropped"), [] as [&Value; 0]);
}
