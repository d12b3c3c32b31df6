//! Every outcome of a request: its status, its shape, its metric and its line in the log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Connection, get, post, request};
use crate::program::{Program, Setup, eventually};

/// The series that counts requests with this outcome.
fn count(method: &str, status: u16, route: &str) -> String {
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
    )
}

fn access(log: &[Value], path: &str) -> Value {
    let line = log
        .iter()
        .find(|line| line["target"] == "access" && line["path"] == path);
    line.unwrap_or_else(|| panic!("no line for {path} in {log:#?}"))
        .clone()
}

#[test]
fn errors_of_routing_and_extraction_are_problems() {
    let program = Program::start();
    let json = "application/json";
    let cases = [
        (get(program.main, "/nowhere"), 404, "unmatched"),
        (post(program.main, "/", json, ""), 405, "/"),
        (post(program.main, "/json", json, "{"), 400, "/json"),
        (post(program.main, "/json", json, "{}"), 422, "/json"),
        (
            post(program.main, "/json", "text/plain", "{}"),
            415,
            "/json",
        ),
        (get(program.main, "/query?name=x&number=y"), 400, "/query"),
        (get(program.main, "/number/seven"), 400, "/number/{number}"),
    ];
    for (answer, status, route) in &cases {
        assert_eq!(answer.status, *status, "{answer:?}");
        answer.problem();
        let method = if ["/json", "/"].contains(route) {
            "POST"
        } else {
            "GET"
        };
        assert_eq!(
            program.metric(&count(method, *status, route)),
            1.0,
            "{route}"
        );
    }
    assert_eq!(cases[1].0.header("allow"), Some("GET,HEAD"));
    let detail = cases[3].0.problem()["detail"].clone();
    assert!(
        detail
            .as_str()
            .expect("a detail")
            .contains("missing field `name`"),
        "{detail}"
    );
}

#[test]
fn a_mapped_error_sets_the_status_and_is_only_logged() {
    let program = Program::start();
    let cases = [
        (
            "refused",
            503,
            Some("the store cannot be reached"),
            Some("2"),
            "ERROR",
        ),
        ("exists", 409, Some("it is there already"), None, "INFO"),
        // Unknown to all, and a meaning that panics.
        ("other", 500, None, None, "ERROR"),
        ("panics", 500, None, None, "ERROR"),
    ];
    for (kind, status, detail, retry_after, _) in cases {
        let answer = get(program.main, &format!("/error/{kind}"));
        assert_eq!(answer.status, status, "{kind}");
        let problem = answer.problem();
        assert_eq!(problem["status"], status);
        assert_eq!(
            problem.get("detail").and_then(|detail| detail.as_str()),
            detail
        );
        assert_eq!(answer.header("retry-after"), retry_after);
        assert_eq!(
            problem["request_id"].as_str(),
            answer.header("x-request-id")
        );
        assert!(!answer.body.contains("orders"), "{}", answer.body);
    }
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    let logged: Vec<_> = log
        .iter()
        .filter(|line| line["error"] == "the order cannot be kept: INSERT INTO orders")
        .collect();
    assert_eq!(logged.len(), cases.len(), "{log:#?}");
    for (line, (kind, status, _, _, level)) in logged.into_iter().zip(cases) {
        assert_eq!(
            (&line["status"], &line["level"]),
            (&status.into(), &level.into()),
            "{kind}"
        );
        assert!(line["request_id"].is_string(), "{line}");
    }
}

#[test]
fn a_handlers_error_is_logged_with_its_causes_which_the_response_omits() {
    let program = Program::start();
    let answer = get(program.main, "/fail");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.problem().get("detail"), None);
    assert!(!answer.body.contains("hunter2"));
    let text = get(program.main, "/text");
    assert_eq!((text.status, text.problem().get("detail")), (500, None));

    let (code, log) = program.stop();
    let failed: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "request failed")
        .collect();
    assert_eq!(
        failed[0]["error"],
        "the database cannot be reached: password hunter2 was refused"
    );
    assert_eq!(
        failed[0]["request_id"].as_str(),
        answer.header("x-request-id")
    );
    assert_eq!(failed[1]["error"], "password is hunter2");
    assert_eq!((failed.len(), code), (2, Some(0)));
}

#[test]
fn a_panic_is_a_500_and_the_process_continues() {
    let program = Program::start();
    let answer = get(program.main, "/panic");
    assert_eq!(answer.status, 500);
    answer.problem();
    assert!(!answer.body.contains("a handler's panic"));
    assert_eq!(get(program.main, "/").status, 200);
    assert_eq!(program.metric("panics_total"), 1.0);
    assert_eq!(program.metric(&count("GET", 500, "/panic")), 1.0);

    let (code, log) = program.stop();
    let panics: Vec<_> = log
        .iter()
        .filter(|line| line["target"] == "panic")
        .collect();
    assert_eq!((panics.len(), code), (1, Some(0)));
    assert_eq!(panics[0]["level"], "ERROR");
    assert_eq!(
        panics[0]["request_id"].as_str(),
        answer.header("x-request-id")
    );
}

#[test]
fn a_handler_that_takes_too_long_is_a_504() {
    let program = Setup::default()
        .set("limits.request_timeout", "100ms")
        .start();
    let answer = get(program.main, "/sleep/60000");
    assert_eq!(answer.status, 504);
    answer.problem();
    assert_eq!(program.metric(&count("GET", 504, "/sleep/{ms}")), 1.0);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let program = Setup::default()
        .set("limits.request_timeout", "100ms")
        .start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /bytes HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf")
        .unwrap();
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 408);
    answer.problem();
}

#[test]
fn a_body_over_the_limit_is_rejected_with_413() {
    let program = Setup::default().set("limits.body", "3MiB").start();
    let body = "x".repeat(3 * 1024 * 1024);
    assert_eq!(
        post(program.main, "/bytes", "text/plain", &body).body,
        "3145728"
    );
    let answer = post(program.main, "/bytes", "text/plain", &format!("{body}x"));
    assert_eq!(answer.status, 413);
    answer.problem();
}

#[test]
fn a_request_over_the_limit_is_shed_and_the_probes_are_not() {
    let program = Setup::default().set("limits.concurrency", 2).start();
    let mut busy: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Connection::open(program.main).unwrap();
            client
                .send(b"GET /sleep/500 HTTP/1.1\r\nhost: test\r\n\r\n")
                .unwrap();
            client
        })
        .collect();
    eventually("two requests are under way", || {
        program.metric("http_server_active_requests") == 2.0
    });
    let answer = get(program.main, "/");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.problem();
    assert_eq!(get(program.main, "/health/liveness").status, 200);
    assert_eq!(program.metric("http_server_requests_shed_total"), 1.0);
    for client in &mut busy {
        assert_eq!(client.answer().unwrap().status, 200);
    }
    assert_eq!(get(program.main, "/").status, 200);
}

#[test]
fn a_client_that_disconnects_is_a_499_before_and_during_its_response() {
    let program = Program::start();
    let mut waiting = Connection::open(program.main).unwrap();
    waiting
        .send(b"GET /sleep/60000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut reading = Connection::open(program.main).unwrap();
    assert_eq!(reading.get("/endless").unwrap().status, 200);
    eventually("both are under way", || {
        program.metric("http_server_active_requests") == 2.0
    });
    drop((waiting, reading));
    for route in ["/sleep/{ms}", "/endless"] {
        eventually(route, || program.metric(&count("GET", 499, route)) == 1.0);
    }
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    assert_eq!(access(&log, "/sleep/60000")["status"], 499);
    let endless = access(&log, "/endless");
    assert_eq!(endless["status"], 499);
    assert!(endless["response_bytes"].as_u64().unwrap() > 0, "{endless}");
}

#[test]
fn ids_are_kept_or_generated_echoed_and_logged() {
    let program = Program::start();
    let headers = [
        ("x-request-id", "req-1.2"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ];
    let kept = request(program.main, "GET", "/number/1", &headers, "");
    assert_eq!(kept.header("x-request-id"), Some("req-1.2"));
    let forged = [("x-request-id", "a\" b")];
    let made = request(program.main, "GET", "/number/2?secret=hunter2", &forged, "");
    let id = made.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 32);

    let (_, log) = program.stop();
    let line = access(&log, "/number/1");
    assert_eq!(line["request_id"], "req-1.2");
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let line = access(&log, "/number/2");
    assert_eq!(line["request_id"], id);
    assert_eq!(
        (
            &line["method"],
            &line["route"],
            &line["status"],
            &line["response_bytes"]
        ),
        (
            &json!("GET"),
            &json!("/number/{number}"),
            &json!(200),
            &json!(1)
        )
    );
    assert!(
        !log.iter().any(|line| line.to_string().contains("hunter2")),
        "a query is logged"
    );
}

#[test]
fn probes_and_scrapes_are_not_logged() {
    let program = Program::start();
    for path in ["/health/liveness", "/health/readiness"] {
        get(program.main, path);
        get(program.admin, path);
    }
    get(program.admin, "/metrics");
    let (_, log) = program.stop();
    assert!(
        log.iter().all(|line| line["target"] != "access"),
        "{log:#?}"
    );
}

#[test]
fn a_response_that_streams_is_timed_to_its_end() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    assert_eq!(client.get("/endless").unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(120));
    drop(client);
    eventually("it has ended", || {
        program.metric("http_server_active_requests") == 0.0
    });
    let (_, log) = program.stop();
    assert!(access(&log, "/endless")["duration_ms"].as_f64().unwrap() > 100.0);
}
