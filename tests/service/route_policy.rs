//! Policies of single routes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use tower::ServiceExt;

use crate::client::{Answer, Connection, get};
use crate::program::{Program, Setup, eventually, policies};

fn program() -> Program {
    Setup::default()
        .set("limits.request_timeout", "300ms")
        .start()
}

#[test]
fn a_route_has_a_longer_a_shorter_or_no_timeout() {
    let program = program();
    for (path, status) in [
        ("/sleep/600", 504),
        ("/policy/long/600", 200),
        ("/policy/poll/600", 200),
        ("/policy/short/250", 504),
        ("/policy/short/0", 200),
        ("/sleep/250", 200),
        // The inner one decides.
        ("/policy/nested/long/600", 200),
        ("/policy/nested/short/250", 504),
    ] {
        assert_eq!(get(program.main, path).status, status, "{path}");
    }
    let series = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
         http_response_status_code=\"504\",http_route=\"/policy/short/{ms}\"}";
    assert_eq!(program.metric(series), 1.0);
}

#[test]
fn an_upload_may_take_longer_than_others() {
    let program = program();
    let upload = |path: &str| {
        let mut client = Connection::open(program.main).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(100));
            if client.send(b"x").is_err() {
                break;
            }
        }
        client.answer().unwrap()
    };
    assert_eq!(upload("/discard").status, 408);
    let answer = upload("/policy/upload");
    assert_eq!((answer.status, &*answer.body), (200, "6"));
}

/// Asks in the background.
fn ask(address: SocketAddr, path: &'static str) -> std::thread::JoinHandle<Answer> {
    std::thread::spawn(move || get(address, path))
}

#[test]
fn a_route_has_so_many_requests_at_once_and_shares_that_with_those_of_its_policy() {
    let program = Program::start();
    let shed = || program.metric("http_server_requests_shed_total");
    let held = ["/policy/two/1000", "/policy/second/1000"].map(|path| ask(program.main, path));
    eventually("both are under way", || {
        program.metric("http_server_active_requests") == 2.0
    });
    let answer = get(program.main, "/policy/two/0");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.problem()["status"], 503);
    assert_eq!(
        answer.header("x-request-id"),
        answer.problem()["request_id"].as_str()
    );
    assert_eq!(shed(), 1.0);
    // Others have room.
    assert_eq!(get(program.main, "/sleep/0").status, 200);
    for held in held {
        assert_eq!(held.join().unwrap().status, 200);
    }
    // Each place is free again, also after a panic.
    for _ in 0..3 {
        assert_eq!(get(program.main, "/policy/two/panic").status, 500);
    }
    assert_eq!(get(program.main, "/policy/two/0").status, 200);
    assert_eq!(shed(), 1.0);
}

#[test]
fn a_request_is_under_way_until_its_response_has_ended() {
    let program = Program::start();
    let mut stream = Connection::open(program.main).unwrap();
    stream
        .send(b"GET /policy/stream HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("the stream is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    assert_eq!(get(program.main, "/policy/stream").status, 503);
    drop(stream);
    eventually("there is room again", || {
        let mut next = Connection::open(program.main).unwrap();
        next.send(b"GET /policy/stream HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        String::from_utf8(next.bytes(12).unwrap()).unwrap() == "HTTP/1.1 200"
    });
}

#[test]
fn an_unlogged_route_has_metrics_and_no_access_lines() {
    let program = Program::start();
    for path in ["/policy/unlogged/0", "/policy/unlogged/50", "/sleep/0"] {
        assert_eq!(get(program.main, path).status, 200);
    }
    let series = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
         http_response_status_code=\"200\",http_route=\"/policy/unlogged/{ms}\"}";
    assert_eq!(program.metric(series), 2.0);
    let (_, log) = program.stop();
    let lines = log.iter().filter(|line| line["target"] == "access");
    let paths: Vec<_> = lines.map(|line| &line["path"]).collect();
    assert_eq!(paths, ["/sleep/0"]);
}

#[tokio::test]
async fn without_the_request_layer_a_policy_limits_and_lets_go_by_itself() {
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = policies().oneshot(request).await.unwrap();
        response.status().as_u16()
    };
    // The routes are made anew each time; what a thread keeps would show in the next.
    for _ in 0..5 {
        assert_eq!(ask("/two/0").await, 200);
    }
    let router = policies();
    let began = Instant::now();
    let requests = (0..3).map(|_| {
        let request = Request::get("/two/200").body(Body::empty()).unwrap();
        tokio::spawn(router.clone().oneshot(request))
    });
    let mut statuses = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        statuses.push(request.await.unwrap().unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 503]);
    assert!(began.elapsed() < Duration::from_secs(20));
}
