//! Exported spans, as a real collector receives them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Connection, get, post, request};
use crate::collector::{Collector, Span, exporting};
use crate::own_main;
use crate::program::{Program, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The headers of a caller that does or does not record its trace.
fn called(sampled: bool) -> [(&'static str, String); 3] {
    let flags = u8::from(sampled);
    [
        ("traceparent", format!("00-{TRACE}-{CALLER}-{flags:02}")),
        ("tracestate", "a=1,b=2".to_owned()),
        ("x-request-id", "abc".to_owned()),
    ]
}

fn call(program: &Program, path: &str, headers: &[(&'static str, String)]) -> Value {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = request(program.main, "GET", path, &headers, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let span = spans.iter().find(|span| span.name == name);
    span.unwrap_or_else(|| panic!("no {name:?} in {spans:#?}"))
}

fn attributes<'a>(span: &'a Span, keys: &[&str]) -> Vec<Option<&'a str>> {
    let value = |key: &&str| span.attributes.get(*key).map(String::as_str);
    keys.iter().map(value).collect()
}

/// Stops the program in order, and then its collector.
fn stop(program: Program, collector: Collector) -> (Vec<Span>, Vec<Value>) {
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    (collector.spans(), log)
}

fn access<'a>(log: &'a [Value], path: &str) -> &'a Value {
    let line = log
        .iter()
        .find(|line| line["target"] == "access" && line["path"] == path);
    line.unwrap_or_else(|| panic!("no {path} in {log:#?}"))
}

#[test]
#[ignore = "needs rotel"]
fn a_request_arrives_with_the_ids_of_its_log_lines_and_of_what_it_calls() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint()).start();
    let mut headers = called(true).to_vec();
    headers.push(("user-agent", "tester/1.0".to_owned()));
    let onward = call(&program, "/onward?password=hunter2", &headers);
    let (spans, log) = stop(program, collector);

    let span = named(&spans, "GET /onward");
    assert_eq!((&*span.trace, &*span.parent), (TRACE, CALLER));
    let line = access(&log, "/onward");
    assert_eq!(line["trace_id"], span.trace);
    assert_eq!(line["span_id"], span.id);
    assert_eq!(onward["traceparent"], format!("00-{TRACE}-{}-01", span.id));
    assert_eq!(onward["tracestate"], "a=1,b=2");
    assert_eq!(onward["x-request-id"], "abc");

    assert_eq!(span.kind, "SPAN_KIND_SERVER");
    assert_eq!(span.status, "STATUS_CODE_UNSET");
    assert!(span.scope.starts_with("axum-chassis"), "{}", span.scope);
    let expected = [
        ("client.address", "127.0.0.1"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/onward"),
        ("network.protocol.version", "1.1"),
        ("server.address", "localhost"),
        ("url.path", "/onward"),
        ("url.scheme", "http"),
        ("user_agent.original", "tester/1.0"),
    ];
    let expected: BTreeMap<_, _> = expected
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    assert_eq!(span.attributes, expected);
    assert_eq!(span.resource["service.name"], "subject");
    assert_eq!(span.resource["service.version"], "1.2.3");
    assert_eq!(span.resource["telemetry.sdk.language"], "rust");
}

#[test]
#[ignore = "needs rotel"]
fn spans_of_a_handler_are_children_of_its_request() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint()).start();
    call(&program, "/onward", &called(true));
    call(&program, "/onward", &[]);
    let (spans, _) = stop(program, collector);

    assert_eq!(spans.len(), 8, "{spans:#?}");
    let requests: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "GET /onward")
        .collect();
    assert_ne!(requests[0].trace, requests[1].trace);
    for request in requests {
        let trace: Vec<_> = spans
            .iter()
            .filter(|span| span.trace == request.trace)
            .cloned()
            .collect();
        let handler = named(&trace, "onward");
        assert_eq!(handler.parent, request.id);
        assert_eq!(handler.kind, "SPAN_KIND_INTERNAL");
        let lookup = |place: &str| {
            let is_it = |span: &&Span| span.attributes.get("place").is_some_and(|at| at == place);
            trace
                .iter()
                .find(is_it)
                .unwrap_or_else(|| panic!("no {place} in {trace:#?}"))
        };
        assert_eq!(lookup("here").parent, handler.id);
        // A task of its own that was given the request's ids.
        assert_eq!(lookup("elsewhere").parent, request.id);
    }
}

#[test]
#[ignore = "needs rotel"]
fn each_outcome_has_the_status_of_its_log_line() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint())
        .set("limits.request_timeout", "100ms")
        .start();
    get(program.main, "/panic");
    get(program.main, "/fail");
    get(program.main, "/sleep/10000");
    get(program.main, "/number/x");
    get(program.main, "/nowhere");
    request(program.main, "BREW", "/", &[], "");
    // The client goes away.
    let mut connection = Connection::open(program.main).unwrap();
    connection
        .send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    connection.answer().unwrap();
    drop(connection);
    eventually("the client is missed", || {
        program.metric("http_server_active_requests") == 0.0
    });
    let (spans, _) = stop(program, collector);

    let keys = [
        "http.route",
        "http.response.status_code",
        "error.type",
        "http.request.method",
    ];
    let cases = [
        (
            "GET /panic",
            "ERROR",
            [Some("/panic"), Some("500"), Some("500"), Some("GET")],
        ),
        (
            "GET /fail",
            "ERROR",
            [Some("/fail"), Some("500"), Some("500"), Some("GET")],
        ),
        (
            "GET /sleep/{ms}",
            "ERROR",
            [Some("/sleep/{ms}"), Some("504"), Some("504"), Some("GET")],
        ),
        (
            "GET /number/{number}",
            "UNSET",
            [Some("/number/{number}"), Some("400"), None, Some("GET")],
        ),
        ("GET", "UNSET", [None, Some("404"), None, Some("GET")]),
        (
            "HTTP /",
            "UNSET",
            [Some("/"), Some("405"), None, Some("_OTHER")],
        ),
        (
            "GET /endless",
            "UNSET",
            [Some("/endless"), Some("499"), None, Some("GET")],
        ),
    ];
    for (name, status, expected) in cases {
        let span = named(&spans, name);
        assert_eq!(span.status, format!("STATUS_CODE_{status}"), "{name}");
        assert_eq!(attributes(span, &keys), expected, "{name}");
        assert_eq!(span.parent, "", "{name} is the first of its trace");
    }
    let brew = named(&spans, "HTTP /");
    assert_eq!(brew.attributes["http.request.method_original"], "BREW");
    assert_eq!(spans.len(), cases.len(), "{spans:#?}");
}

#[test]
#[ignore = "needs rotel"]
fn a_request_in_flight_at_the_stop_is_exported() {
    let collector = Collector::start();
    // So long a delay that only the stop can be what exports.
    let program = exporting(&collector.endpoint())
        .variable("OTEL_BSP_SCHEDULE_DELAY", 60_000)
        .start();
    let mut connection = Connection::open(program.main).unwrap();
    connection
        .send(b"GET /sleep/500 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("it is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    let (spans, log) = stop(program, collector);
    assert_eq!(connection.answer().unwrap().status, 200);
    let span = named(&spans, "GET /sleep/{ms}");
    assert_eq!(access(&log, "/sleep/500")["span_id"], span.id);
}

#[test]
#[ignore = "needs rotel"]
fn requests_that_are_aborted_at_the_deadline_are_exported_as_errors() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint())
        .set("shutdown.deadline", "2s")
        .set("shutdown.hook_timeout", "1s")
        .start();
    let endless = || {
        let mut connection = Connection::open(program.main).unwrap();
        connection
            .send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        connection.answer().unwrap();
        connection
    };
    let _open: Vec<_> = (0..200).map(|_| endless()).collect();
    let (code, log) = program.stop();
    assert_eq!(code, Some(1), "{log:#?}");
    let said = |message: &str| log.iter().find(|line| line["message"] == message);
    assert_eq!(
        said("spans not exported before the timeout"),
        None,
        "a part of the deadline is kept for them"
    );
    let spans = collector.spans();
    assert_eq!(spans.len(), 200);
    for span in spans {
        assert_eq!(span.name, "GET /endless");
        assert_eq!(span.status, "STATUS_CODE_ERROR");
        assert_eq!(span.message, "aborted at the shutdown deadline");
        assert_eq!(span.attributes["http.response.status_code"], "503");
    }
}

#[test]
#[ignore = "needs rotel"]
fn a_caller_that_does_not_record_its_trace_decides_for_it() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint()).start();
    let onward = call(&program, "/onward", &called(false));
    let (spans, log) = stop(program, collector);
    assert_eq!(spans, []);
    let id = access(&log, "/onward")["span_id"].as_str().unwrap();
    assert_eq!(onward["traceparent"], format!("00-{TRACE}-{id}-00"));
    assert_eq!(onward["tracestate"], "a=1,b=2");
}

#[test]
#[ignore = "needs rotel"]
fn the_sampler_decides_for_traces_that_begin_here() {
    for (ratio, exported) in [("0", 0), ("1", 4)] {
        let collector = Collector::start();
        let program = exporting(&collector.endpoint())
            .variable("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .variable("OTEL_TRACES_SAMPLER_ARG", ratio)
            .start();
        let onward = call(&program, "/onward", &[]);
        let (spans, _) = stop(program, collector);
        assert_eq!(spans.len(), exported, "{spans:#?}");
        // And that its id is random.
        let flags = if exported > 0 { "-03" } else { "-02" };
        assert!(onward["traceparent"].as_str().unwrap().ends_with(flags));
    }
}

#[test]
#[ignore = "needs rotel"]
fn a_sampler_without_parent_takes_the_same_share_of_all_services() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint())
        .variable("OTEL_TRACES_SAMPLER", "traceidratio")
        .variable("OTEL_TRACES_SAMPLER_ARG", "0.5")
        .start();
    // By the lower half of the trace's id, whatever the caller says.
    let low = format!("{:016x}{:016x}", 1, 1);
    let high = format!("{:016x}{:016x}", 1, u64::MAX);
    for (trace, flags) in [(&low, "00"), (&high, "01")] {
        call(
            &program,
            "/onward",
            &[("traceparent", format!("00-{trace}-{CALLER}-{flags}"))],
        );
    }
    let (spans, _) = stop(program, collector);
    assert_eq!(spans.len(), 4, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == low), "{spans:#?}");
}

#[test]
#[ignore = "needs rotel"]
fn probes_and_admin_requests_have_no_spans() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint()).start();
    get(program.main, "/health/liveness");
    get(program.main, "/health/readiness");
    get(program.admin, "/metrics");
    post(
        program.main,
        "/json",
        "application/json",
        r#"{"name":"a","number":1}"#,
    );
    eventually("the span is counted", || {
        program.metric("trace_spans_exported_total") == 1.0
    });
    let (spans, _) = stop(program, collector);
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].name, "POST /json");
}

#[test]
#[ignore = "needs rotel"]
fn variables_configure_the_export() {
    let collector = Collector::start();
    let program = exporting("http://127.0.0.1:1")
        .variable(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            format!("{}/v1/traces", collector.endpoint()),
        )
        .variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        .variable("OTEL_SERVICE_NAME", "orders")
        .variable(
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.version=9,deployment.environment.name=a%2Cb",
        )
        .start();
    get(program.main, "/");
    let (spans, log) = stop(program, collector);
    let span = named(&spans, "GET /");
    assert_eq!(span.resource["service.name"], "orders");
    assert_eq!(span.resource["service.version"], "9");
    assert_eq!(span.resource["deployment.environment.name"], "a,b");
    let said = log
        .iter()
        .find(|line| line["message"] == "exporting traces")
        .unwrap();
    assert_eq!(said["sampler"], "parentbased_always_on");
    assert!(said["endpoint"].as_str().unwrap().ends_with("/v1/traces"));
}

#[test]
#[ignore = "needs rotel"]
fn a_program_that_keeps_its_own_main_exports_as_well() {
    for parts in [&[][..], &[("PARTS", "yes")]] {
        let collector = Collector::start();
        let endpoint = collector.endpoint();
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)], parts].concat();
        let ended = own_main::run(&variables);
        let log = own_main::log(&ended);
        let spans = collector.spans();
        assert_eq!(spans.len(), 2, "{spans:#?}");
        let (request, handler) = (named(&spans, "GET /"), named(&spans, "handler"));
        assert_eq!(handler.parent, request.id);
        let handled = own_main::message(&log, "handled");
        assert_eq!(handled["trace_id"], request.trace);
        assert_eq!(access(&log, "/")["span_id"], request.id);
        assert_eq!(request.resource["service.name"], "own");
        assert_eq!(request.resource["service.version"], "1.2.3");
    }
}

#[test]
#[ignore = "needs rotel"]
fn the_client_of_a_span_comes_from_trusted_proxies() {
    let collector = Collector::start();
    let program = exporting(&collector.endpoint())
        .set("server.trusted_proxies", "127.0.0.1")
        .start();
    let forwarded = [("x-forwarded-for", "192.0.2.99, 198.51.100.7")];
    request(program.main, "GET", "/", &forwarded, "");
    let (spans, log) = stop(program, collector);
    let span = named(&spans, "GET /");
    assert_eq!(span.attributes["client.address"], "198.51.100.7");
    assert_eq!(access(&log, "/")["client"], "198.51.100.7");
}
