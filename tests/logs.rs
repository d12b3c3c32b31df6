//! Log lines as a reader of the output finds them.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Html;
use axum::routing::get;
use axum_chassis::limits;
use axum_chassis::logs::{self, AccessFields, Format, Logs, Output, Settings};
use axum_chassis::metrics::Metrics;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestLayer, RequestObserver};
use axum_chassis::trace::{self, Ids};
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
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
    let mut settings = Settings::default();
    filter.clone_into(&mut settings.filter);
    settings.format = Format::Json;
    settings
}

fn text() -> Settings {
    let mut settings = Settings::default();
    settings.format = Format::Text;
    settings
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
    let text = logged_with(&text(), |_| info!(message = "what happened", ""));
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
    let text = logged_with(&text(), |_| warn!(free = 3, path = "/a b", "disk\nlow"));
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

/// Adds a field of each kind, one with the name that the request has in `x-field`, and some that have to be bounded and escaped.
struct Fields;

impl RequestObserver for Fields {
    type State = Option<&'static str>;

    fn begin(&self, request: &mut RequestHead<'_>) -> Option<&'static str> {
        let wanted = request.headers().get("x-field")?;
        OWN_KEYS.into_iter().find(|key| wanted == key)
    }

    fn end(
        &self,
        own: Option<&'static str>,
        _: &FinishedRequest<'_>,
        fields: &mut AccessFields<'_>,
    ) {
        fields.text("tier", "go\"ld\n");
        fields.text("tier", "another");
        fields.text("long", &"é".repeat(2000));
        fields.integer("items", u64::MAX);
        fields.integer("balance", -7);
        fields.integer("rows", [1, 2, 3].len());
        fields.integer("widest", u128::MAX);
        fields.float("share", 0.5);
        fields.boolean("cached", true);
        fields.text(own.unwrap_or("field.status"), "an observer's");
    }
}

/// All keys of an access line.
const OWN_KEYS: [&str; 15] = [
    "timestamp",
    "level",
    "target",
    "message",
    "method",
    "route",
    "path",
    "status",
    "duration_ms",
    "request_bytes",
    "response_bytes",
    "client",
    "request_id",
    "trace_id",
    "span_id",
];

/// A request that has an access line, with a field of this name by an observer.
fn request(logs: &Logs, field: &str) {
    let layer = RequestLayer::new(&limits::Settings::default(), logs, &Metrics::new()).unwrap();
    let router = Router::new()
        .route(
            "/orders/{id}",
            get(async || (StatusCode::NOT_FOUND, Html("no order 7"))),
        )
        .layer(layer.observe(Fields));
    let mut request = Request::get("/orders/7%22?key=secret")
        .header("x-request-id", "r1")
        .header("x-field", field)
        .body(Body::empty())
        .unwrap();
    let client = ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 4711)));
    request.extensions_mut().insert(client);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let response = runtime.unwrap().block_on(router.oneshot(request));
    assert_eq!(response.unwrap().status(), 404);
}

#[test]
fn an_access_line_describes_the_request() {
    let text = logged_with(&json("info"), |logs| request(logs, ""));
    let line: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("level", "INFO"),
        ("target", "access"),
        ("message", "request"),
        ("method", "GET"),
        ("route", "/orders/{id}"),
        ("path", "/orders/7%22"),
        ("client", "10.0.0.9"),
        ("request_id", "r1"),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!(line["status"], 404);
    assert_eq!(line["response_bytes"], 10);
    assert!(line["duration_ms"].is_f64(), "{line}");
}

#[test]
fn fields_of_observers_are_before_the_ids_escaped_and_bounded() {
    let text = logged_with(&json("info"), |logs| request(logs, ""));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["tier"], "go\"ld\n", "the first of a name");
    assert_eq!(line["long"], "é".repeat(1024), "2 KiB");
    assert_eq!(line["items"], u64::MAX);
    assert_eq!(line["balance"], -7);
    assert_eq!(line["rows"], 3);
    assert_eq!(line["share"], 0.5);
    assert_eq!(line["cached"], true);
    assert_eq!(line["field.field.status"], "an observer's");
    let keys = keys(&text);
    let at = |key: &str| keys.iter().position(|known| known == key).unwrap();
    assert!(
        at("client") < at("tier") && at("cached") < at("request_id"),
        "{keys:?}"
    );

    let mut settings = json("info");
    settings.format = Format::Text;
    let text = logged_with(&settings, |logs| request(logs, ""));
    let fields = " items=18446744073709551615 balance=-7 rows=3 widest=340282366920938463463374607431768211455 share=0.5 cached=true field.field.status=\"an observer's\" request_id=";
    assert!(
        text.contains(" tier=\"go\\\"ld\\n\" long=\"é") && text.contains(fields),
        "{text}"
    );
}

#[test]
fn a_field_of_an_observer_cannot_take_the_name_of_one_of_the_chassis() {
    for own in OWN_KEYS {
        let text = logged_with(&json("info"), |logs| request(logs, own));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line[format!("field.{own}")], "an observer's", "{own}");
        let mut keys = keys(&text);
        for own in OWN_KEYS {
            assert!(keys.contains(&own.to_owned()), "{own}: {text}");
        }
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count, "{text}");
    }
}

#[test]
fn access_lines_can_be_switched_off_two_ways() {
    let by_filter = json("info,access=off");
    let mut by_setting = json("info");
    by_setting.access = false;
    for settings in [by_filter, by_setting] {
        let text = logged_with(&settings, |logs| {
            request(logs, "");
        });
        assert_eq!(text, "");
    }
}

#[test]
fn the_filter_of_logs_that_are_not_installed_leaves_the_log_crate_alone() {
    log::set_max_level(log::LevelFilter::Warn);
    let logs = logs::start(&json("info"), Output::to(io::sink())).unwrap();
    logs.set_filter("trace").unwrap();
    assert_eq!(log::max_level(), log::LevelFilter::Warn);
}
