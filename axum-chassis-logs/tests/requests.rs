//! Lines of requests that a program serves without axum-chassis.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum_chassis_logs::trace::{self, Ids};
use axum_chassis_logs::{
    self as logs, AccessFields, FinishedRequest, Format, Logs, Output, Settings,
};
use http::{Request, StatusCode};
use serde_json::Value;
use tracing::Level;

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

/// The lines that `run` logs with this filter.
fn logged(filter: &str, run: impl FnOnce(&Logs)) -> Vec<Value> {
    let mut settings = Settings::default();
    settings.format = Format::Json;
    filter.clone_into(&mut settings.filter);
    let memory = Memory::default();
    let logs = logs::start(&settings, Output::to(memory.clone())).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || run(&logs));
    assert!(logs.flush(Duration::from_secs(10)));
    let bytes = memory.0.lock().unwrap().clone();
    let lines = std::str::from_utf8(&bytes).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn request(path: &str) -> Request<()> {
    let request = Request::post(path).header("x-request-id", "abc");
    request.body(()).unwrap()
}

/// Ends the request with its access line.
fn finish(logs: &Logs, request: &Request<()>, add: impl FnOnce(&mut AccessFields<'_>)) {
    let ids = Ids::from_headers(request.headers());
    let path = request.uri().path();
    let mut finished = FinishedRequest::new(
        &ids,
        request.method(),
        path,
        StatusCode::CREATED,
        Instant::now(),
    );
    finished.route = "/orders/{id}";
    finished.response_bytes = 7;
    finished.client = Some([192, 0, 2, 7].into());
    logs.access(&finished, add);
}

#[tokio::test]
async fn every_line_of_a_request_has_its_ids() {
    let ids = Ids::from_headers(request("/orders/7").headers());
    let other_task = trace::scope(ids.clone(), async {
        let current = trace::current().unwrap();
        assert_eq!(current.request.as_str(), "abc");
        current
    });
    assert_eq!(other_task.await, ids);
    let lines = logged("info", |_| {
        ids.enter(|| tracing::info!("inside"));
        tracing::info!("outside");
    });
    assert_eq!(lines[0]["request_id"], "abc");
    assert_eq!(lines[0]["trace_id"], ids.trace.trace_id().to_string());
    assert_eq!(lines[1].get("request_id"), None);
}

#[test]
fn a_finished_request_has_one_access_line_with_the_fields_that_the_program_adds() {
    let request = request("/orders/7?token=secret");
    let lines = logged("info", |logs| {
        finish(logs, &request, |fields| {
            fields.text("tier", "gold");
            fields.text("status", "paid");
        });
    });
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    for (field, value) in [
        ("target", "access"),
        ("method", "POST"),
        ("route", "/orders/{id}"),
        ("path", "/orders/7"),
        ("client", "192.0.2.7"),
        ("request_id", "abc"),
        ("tier", "gold"),
        ("field.status", "paid"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!(line["status"], 201);
    assert_eq!(line["request_bytes"], 0);
    assert_eq!(line["response_bytes"], 7);
    assert!(line["duration_ms"].as_f64().unwrap() < 10_000.0);
}

#[test]
fn without_an_access_line_the_programs_function_still_runs_once() {
    let mut added = 0;
    let lines = logged("info,access=off", |logs| {
        finish(logs, &request("/orders/7"), |fields| {
            added += 1;
            fields.text("tier", "gold");
        });
    });
    assert_eq!((lines.len(), added), (0, 1));
}

#[test]
fn a_long_path_is_shortened_at_a_character() {
    let path = format!("/{}é", "x".repeat(2046));
    let ids = Ids::from_headers(&http::HeaderMap::new());
    let method = http::Method::GET;
    let finished = FinishedRequest::new(&ids, &method, &path, StatusCode::OK, Instant::now());
    assert_eq!(finished.path, &path[..2047]);
    assert_eq!(finished.route, "unmatched");
}

#[test]
fn a_line_that_always_has_to_be_written_passes_every_filter() {
    let lines = logged("off", |logs| {
        tracing::error!("not wanted");
        logs.always(
            Level::WARN,
            "audit",
            "the filter changed",
            &[("client", &"192.0.2.7")],
        );
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["target"], "audit");
    assert_eq!(lines[0]["message"], "the filter changed");
    assert_eq!(lines[0]["client"], "192.0.2.7");
}
