//! Layers and routes of others around and within the chassis's own.

use crate::client::{Connection, get, post};
use crate::program::{Program, Setup, eventually};

#[test]
fn an_outer_layer_sees_the_responses_of_the_chassis_itself() {
    let program = Setup::default()
        .set("limits.request_timeout", "200ms")
        .set("limits.concurrency", 2)
        .start();
    for (path, status) in [
        ("/", 200),
        ("/nowhere", 404),
        ("/health/liveness", 200),
        ("/panic", 500),
        ("/sleep/10000", 504),
    ] {
        let answer = get(program.main, path);
        assert_eq!(
            (answer.status, answer.header("x-outer")),
            (status, Some("here")),
            "{path}"
        );
    }
    let mut nameless = Connection::open(program.main).unwrap();
    nameless.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let answer = nameless.answer().unwrap();
    assert_eq!(
        (answer.status, answer.header("x-outer")),
        (400, Some("here"))
    );
    let mut slow = Connection::open(program.main).unwrap();
    slow.send(b"POST /bytes HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\n")
        .unwrap();
    let answer = slow.answer().unwrap();
    assert_eq!(
        (answer.status, answer.header("x-outer")),
        (408, Some("here"))
    );

    let held = [(); 2].map(|()| {
        let mut held = Connection::open(program.main).unwrap();
        held.send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        held
    });
    eventually("the limit is reached", || {
        program.metric("http_server_active_requests") == 2.0
    });
    let answer = get(program.main, "/");
    assert_eq!(
        (answer.status, answer.header("x-outer")),
        (503, Some("here"))
    );
    drop(held);
}

#[test]
fn requests_below_nest_service_have_its_prefix_as_their_route() {
    let program = Program::start();
    for path in ["/nested/a.txt", "/nested/deep/b.txt", "/nested", "/nested/"] {
        assert_eq!(get(program.main, path).status, 200, "{path}");
    }
    assert_eq!(get(program.main, "/nowhere").status, 404);
    assert_eq!(
        post(program.main, "/nested/c", "text/plain", "").status,
        200
    );
    let count = |method: &str, status: u16, route: &str| {
        program.metric(&format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
        ))
    };
    assert_eq!(count("GET", 200, "/nested/{*rest}"), 2.0);
    assert_eq!(count("POST", 200, "/nested/{*rest}"), 1.0);
    assert_eq!(count("GET", 200, "/nested"), 1.0);
    assert_eq!(count("GET", 200, "/nested/"), 1.0);
    assert_eq!(count("GET", 404, "unmatched"), 1.0);
    let (_, log) = program.stop();
    let line = log
        .iter()
        .find(|line| line["path"] == "/nested/a.txt")
        .expect("a line");
    assert_eq!(line["route"], "/nested/{*rest}");
}

#[test]
fn a_line_has_a_bounded_length_whatever_the_client_sends() {
    let program = Program::start();
    let path = format!("/{}", "x".repeat(50_000));
    assert_eq!(get(program.main, &path).status, 404);
    let mut client = Connection::open(program.main).unwrap();
    let method = "M".repeat(5_000);
    client
        .send(format!("{method} / HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 405);
    let (_, log) = program.stop();
    let lines = log.iter().filter(|line| line["target"] == "access");
    let longest = lines
        .map(|line| line.to_string().len())
        .max()
        .expect("lines");
    assert!((2048..4096).contains(&longest), "{longest}");
}
