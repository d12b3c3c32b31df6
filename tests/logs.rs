//! Log lines as a reader of the output finds them.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum_chassis::logs::{self, AccessLine, Format, Logs, Output, Settings};
use axum_chassis::trace::{self, Ids};
use serde_json::Value;
use tracing::{debug, error, info, info_span, warn};

const SOON: Duration = Duration::from_secs(10);

/// An output that can be read back.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of `run` with these settings, as text.
fn logged_with(settings: &Settings, run: impl FnOnce(&Logs)) -> String {
    let memory = Memory::default();
    let logs = logs::start(settings, Output::to(memory.clone())).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || run(&logs));
    assert!(logs.flush(SOON));
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The log of `run`, a JSON object for each line.
fn logged(run: impl FnOnce()) -> Vec<Value> {
    let text = logged_with(&json("info"), |_| run());
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn json(filter: &str) -> Settings {
    Settings {
        filter: filter.to_owned(),
        format: Format::Json,
        ..Settings::default()
    }
}

/// The keys of a line in their order, which a parsed object does not keep.
fn keys(line: &str) -> Vec<String> {
    let object = line.trim().trim_start_matches('{').trim_end_matches('}');
    object
        .split(",\"")
        .map(|part| {
            let key = part.trim_start_matches('"');
            key[..key.find('"').unwrap()].to_owned()
        })
        .collect()
}

#[test]
fn an_event_is_one_flat_object() {
    let lines = logged(|| {
        info!(
            count = 3,
            ratio = 0.5,
            ok = true,
            name = "é",
            "took {} steps",
            7
        )
    });
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "logs");
    assert_eq!(line["message"], "took 7 steps");
    assert_eq!(line["count"], 3);
    assert_eq!(line["ratio"], 0.5);
    assert_eq!(line["ok"], true);
    assert_eq!(line["name"], "é");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!(timestamp.len(), "2026-01-31T23:59:59.123456Z".len());
    assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'));
}

#[test]
fn a_message_counts_beside_an_empty_one() {
    let lines = logged(|| {
        info!(message = "what happened", order = 7, "");
        info!("");
    });
    assert_eq!(lines[0]["message"], "what happened");
    assert_eq!(lines[0]["order"], 7);
    assert_eq!(lines[1]["message"], "");
    let text = logged_with(
        &Settings {
            format: Format::Text,
            ..Settings::default()
        },
        |_| info!(message = "what happened", ""),
    );
    assert!(text.ends_with(": what happened\n"), "{text:?}");
}

#[test]
fn the_order_is_head_event_spans_ids() {
    let text = logged_with(&json("info"), |_| {
        let _outer = info_span!("outer", outer = 1, both = "outer").entered();
        let _inner = info_span!("inner", inner = 2, both = "inner", event = "span").entered();
        info!(event = 3, "here");
    });
    assert_eq!(
        keys(&text),
        [
            "timestamp",
            "level",
            "target",
            "message",
            "event",
            "inner",
            "both",
            "outer"
        ]
    );
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["event"], 3, "the event wins over its spans");
    assert_eq!(line["both"], "inner", "the inner span wins over the outer");
}

#[test]
fn a_span_may_record_its_fields_later() {
    let lines = logged(|| {
        let span = info_span!("job", id = tracing::field::Empty, tries = 1);
        span.record("id", "a7");
        span.record("tries", 2);
        span.in_scope(|| info!("done"));
    });
    assert_eq!(lines[0]["id"], "a7");
    assert_eq!(lines[0]["tries"], 2);
}

#[test]
fn a_field_never_takes_the_place_of_a_key_of_the_line() {
    let text = logged_with(&json("info"), |_| {
        let _span = info_span!("span", message = "span's", target = "span's").entered();
        info!(level = "none", timestamp = 0, "field.level" = 1, "mine");
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "mine");
    assert_eq!(line["target"], "logs");
    assert_eq!(line["field.level"], "none");
    assert_eq!(line["field.field.level"], 1);
    assert_eq!(line["field.timestamp"], 0);
    assert_eq!(line["field.target"], "span's");
    let keys = keys(&text);
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(keys.len(), distinct.len(), "{keys:?}");
}

#[tokio::test]
async fn lines_of_a_request_have_its_ids() {
    let memory = Memory::default();
    let logs = logs::start(&json("info"), Output::to(memory.clone())).unwrap();
    let ids = Ids::from_headers(&http::HeaderMap::new());
    let subscriber = logs.subscriber();
    trace::scope(ids.clone(), async {
        tracing::subscriber::with_default(subscriber, || {
            info!(request_id = "forged", "within");
        });
    })
    .await;
    assert!(logs.flush(SOON));
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["request_id"], ids.request.as_str());
    assert_eq!(line["trace_id"], ids.trace.trace_id().to_string());
    assert_eq!(line["span_id"], ids.trace.span_id().to_string());
    assert_eq!(line["field.request_id"], "forged");
}

#[test]
fn outside_a_request_its_ids_are_fields_like_others() {
    let lines = logged(|| info!(request_id = "job-1", "from a queue"));
    assert_eq!(lines[0]["request_id"], "job-1");
}

#[test]
fn nothing_that_is_logged_can_break_or_forge_a_line() {
    let nasty = "a\"}\n{\"level\":\"ERROR\"}\r\u{1b}[2J\u{2028}\\";
    let text = logged_with(&json("info"), |_| {
        info!(nasty, debug = ?nasty, display = %nasty, "{nasty}");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(!text.trim_end().chars().any(char::is_control));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], nasty);
    assert_eq!(line["nasty"], nasty);
    assert_eq!(line["display"], nasty);
}

#[test]
fn an_error_is_written_with_its_causes() {
    let lines = logged(|| {
        let cause = io::Error::other("connection reset");
        let error = logs::SetupError::Thread(cause);
        error!(error = &error as &dyn std::error::Error, "cannot start");
    });
    let text = lines[0]["error"].as_str().unwrap();
    assert!(text.ends_with(": connection reset"), "{text}");
}

#[test]
fn a_value_that_logs_while_it_is_written_gets_a_line_of_its_own() {
    struct Chatty;
    impl std::fmt::Display for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            warn!("inner");
            f.write_str("outer")
        }
    }
    let lines = logged(|| info!(value = %Chatty, "{Chatty}"));
    let messages: Vec<_> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages.last().unwrap(), &"outer");
    assert!(
        messages
            .iter()
            .all(|message| *message == "inner" || *message == "outer")
    );
}

#[test]
fn the_filter_can_change_while_the_service_runs() {
    fn log() {
        debug!("debug");
        info!("info");
    }
    let text = logged_with(&json("info"), |logs| {
        log();
        logs.set_filter("logs=debug").unwrap();
        log();
        logs.set_filter("off").unwrap();
        log();
        assert!(logs.set_filter("nonsense").is_err());
        assert_eq!(
            logs.filter(),
            "off",
            "a filter that cannot be read changes nothing"
        );
    });
    let levels: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone())
        .collect();
    assert_eq!(levels, ["info", "debug", "info"]);
}

#[test]
fn text_has_no_colours_outside_of_a_terminal() {
    let settings = Settings {
        format: Format::Text,
        ..Settings::default()
    };
    let text = logged_with(&settings, |_| warn!(free = 3, path = "/a b", "disk\nlow"));
    let rest = text.split_once("Z ").unwrap().1;
    assert_eq!(rest, " WARN logs: disk\\nlow free=3 path=\"/a b\"\n");
}

#[test]
fn a_terminal_gets_text_with_colours() {
    let memory = Memory::default();
    let output = Output::to(memory.clone()).terminal(true);
    let logs = logs::start(&Settings::default(), output).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || error!(code = 1, "broken"));
    assert!(logs.flush(SOON));
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("\u{1b}[31mERROR\u{1b}[0m"), "{text:?}");
}

#[test]
fn an_access_line_describes_the_request() {
    let ids = Ids::from_headers(&http::HeaderMap::new());
    let access = AccessLine {
        ended: std::time::Instant::now(),
        method: &http::Method::GET,
        route: "/orders/{id}",
        path: "/orders/7\"",
        status: 404,
        duration: Duration::from_micros(1_234),
        request_bytes: 0,
        response_bytes: 181,
        client: Some("10.0.0.9".parse().unwrap()),
        ids: &ids,
        error: Some("no order 7"),
    };
    let text = logged_with(&json("info"), |logs| logs.access(&access));
    let line: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("level", "INFO"),
        ("target", "access"),
        ("message", "request"),
        ("method", "GET"),
        ("route", "/orders/{id}"),
        ("path", "/orders/7\""),
        ("client", "10.0.0.9"),
        ("error", "no order 7"),
        ("request_id", ids.request.as_str()),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!(line["status"], 404);
    assert_eq!(line["duration_ms"], 1.234);
    assert_eq!(line["response_bytes"], 181);
}

#[test]
fn access_lines_can_be_switched_off_two_ways() {
    let ids = Ids::from_headers(&http::HeaderMap::new());
    let line = AccessLine {
        ended: std::time::Instant::now(),
        method: &http::Method::GET,
        route: "/",
        path: "/",
        status: 200,
        duration: Duration::ZERO,
        request_bytes: 0,
        response_bytes: 0,
        client: None,
        ids: &ids,
        error: None,
    };
    let by_filter = json("info,access=off");
    let by_setting = Settings {
        access: false,
        ..json("info")
    };
    for settings in [by_filter, by_setting] {
        let text = logged_with(&settings, |logs| {
            assert!(!logs.access_enabled());
            logs.access(&line);
        });
        assert_eq!(text, "");
    }
}
