//! The wire behind proxies, and in front of peers that are slow, silent or hostile: each gets the answer that there is,
//! and holds nothing for longer than a setting allows.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Connection;
use crate::http2::{GOAWAY, Http2, PING, RST_STREAM, WINDOW_UPDATE, frame};
use crate::program::{Program, SOON, Setup, eventually};

/// A value for timeouts that must not expire in a test.
const LONG: &str = "10m";

fn lines<'a>(log: &'a [Value], text: &'a str) -> impl Iterator<Item = &'a Value> {
    log.iter().filter(move |line| {
        line["message"]
            .as_str()
            .unwrap_or_default()
            .starts_with(text)
    })
}

// --- answers before the end of a request ---

#[test]
fn an_early_response_to_an_upload_reaches_the_client_on_both_listeners() {
    let program = Setup::default().set("limits.body", "1KiB").start();
    let upload = vec![b'x'; 1024 * 1024];
    for (listener, path, status) in [
        (program.main, "/nowhere", 404),
        (program.main, "/bytes", 413),
        (program.main, "/", 405),
        (program.admin, "/nowhere", 404),
    ] {
        for framing in ["content-length: 3145728", "transfer-encoding: chunked"] {
            let mut client = Connection::open(listener).unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n");
            client.send(head.as_bytes()).unwrap();
            let chunked = framing.contains("chunked");
            for _ in 0..3 {
                if chunked {
                    client.send(b"100000\r\n").unwrap();
                }
                // All of it is taken, though nobody reads it: a reset would lose the answer.
                client
                    .send(&upload)
                    .unwrap_or_else(|error| panic!("{path} {framing}: {error}"));
                if chunked {
                    client.send(b"\r\n").unwrap();
                }
            }
            let answer = client
                .answer()
                .unwrap_or_else(|error| panic!("{path} {framing}: {error}"));
            assert_eq!(answer.status, status, "{path} {framing}");
            assert_eq!(
                answer.header("connection"),
                Some("close"),
                "{path} {framing}"
            );
            eventually("it is closed", || client.is_closed());
        }
    }
}

#[test]
fn the_rest_of_a_short_body_is_read_and_the_connection_is_kept() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    for body in ["short".to_owned(), "x".repeat(40_000)] {
        let head = format!(
            "POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // In two pieces, as many clients send it.
        client.send(head.as_bytes()).unwrap();
        client.send(body.as_bytes()).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, None));
        assert_eq!(client.get("/").unwrap().body, "hello");
    }
}

#[test]
fn a_body_that_never_arrives_delays_neither_the_response_nor_the_slot() {
    let program = Program::start();
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut client = Connection::open(program.main).unwrap();
        let head =
            format!("POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n{expect}\r\n");
        client.send(head.as_bytes()).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (404, Some("close"))
        );
        // It sends nothing and does not close: two seconds, and its place is free.
        eventually("it is let go", || {
            program.metric("http_server_connections") == 0.0
        });
    }
}

#[test]
fn a_client_that_keeps_sending_after_its_response_does_not_delay_the_shutdown() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 9000000\r\n\r\n")
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 404);
    let began = Instant::now();
    let (code, _) = program.stop();
    assert_eq!(code, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

// --- HTTP/2 ---

#[test]
fn an_http2_peer_that_answers_no_ping_does_not_delay_the_shutdown() {
    let program = Program::start();
    let mut sleeping = Http2::open(program.main);
    sleeping.get(1, "/");
    sleeping.until(|frame| frame.stream == 1 && frame.flags & 1 == 1);
    let began = Instant::now();
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let kinds = sleeping.rest();
    assert!(
        kinds.contains(&GOAWAY) && kinds.contains(&PING),
        "{kinds:?}"
    );
}

#[test]
fn an_idle_http2_connection_gets_a_goaway_before_it_is_closed() {
    let program = Setup::default().set("server.idle_timeout", "300ms").start();
    let mut client = Http2::open(program.main);
    client.get(1, "/");
    client.until(|frame| frame.stream == 1 && frame.flags & 1 == 1);
    client.until(|frame| frame.kind == GOAWAY);
    // A request that has crossed the GOAWAY is answered still.
    client.get(3, "/");
    client.until(|frame| frame.stream == 3 && frame.flags & 1 == 1);
    client.rest();
    eventually("it is gone", || {
        program.metric("http_server_connections") == 0.0
    });
}

#[test]
fn a_stream_that_the_client_does_not_read_is_reset_and_the_others_continue() {
    let program = Setup::default()
        .set("server.send_timeout", "3s")
        .set("server.idle_timeout", LONG)
        .set("limits.concurrency", 50)
        .start();
    // Its streams have a window of 0.
    let mut greedy = Http2::with_settings(program.main, &[(4, 0)]);
    let paths = ["/endless", "/large", "/number/7"];
    for (stream, path) in (1..).step_by(2).zip(paths) {
        greedy.get(stream, path);
    }
    eventually("all three are under way", || {
        program.metric("http_server_active_requests") == 3.0
    });
    // 64 MiB in memory, of which nothing is taken; the first piece is in the connection.
    eventually("it waits", || {
        program.metric("http_server_response_waiting_bytes") > 63.0 * 1024.0 * 1024.0
    });
    // One that is taken from is served all the while.
    greedy.get(9, "/endless");
    greedy
        .send(&frame(WINDOW_UPDATE, 0, 9, &1_000_000u32.to_be_bytes()))
        .unwrap();
    let mut reset = Vec::new();
    while reset.len() < paths.len() {
        let frame = greedy.next().expect("the connection goes on");
        if frame.kind == RST_STREAM {
            reset.push(frame.stream);
        }
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3, 5]);
    greedy.until(|frame| frame.stream == 9 && frame.kind == 0);
    assert_eq!(program.metric("http_server_active_requests"), 1.0);
    assert_eq!(program.metric("http_server_send_timeouts_total"), 3.0);
    assert_eq!(program.metric("http_server_response_waiting_bytes"), 0.0);
    drop(greedy);
    let (_, log) = program.stop();
    for path in paths {
        let line = log
            .iter()
            .find(|line| line["path"] == path && line["status"] == 499);
        assert!(line.is_some(), "{path}: {log:#?}");
    }
}

#[test]
fn a_client_that_reads_a_byte_at_a_time_is_disconnected() {
    let program = Setup::default()
        .set("server.send_timeout", "1s")
        .set("server.idle_timeout", LONG)
        .start();
    let mut slow = Http2::with_settings(program.main, &[(4, 0)]);
    slow.get(1, "/large");
    let began = Instant::now();
    loop {
        if slow
            .send(&frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()))
            .is_err()
        {
            break;
        }
        let frame = slow.next().expect("the connection goes on");
        if frame.kind == RST_STREAM {
            break;
        }
        assert!(began.elapsed() < SOON, "it is never let go");
    }
}

#[test]
fn an_http2_request_without_authority_and_host_is_rejected() {
    let program = Program::start();
    let mut client = Http2::open(program.main);
    client.send(&frame(1, 0x5, 1, b"\x82\x86\x84")).unwrap();
    let head = client.until(|frame| frame.stream == 1 && frame.kind == 1);
    // `:status 400` of the static table.
    assert_eq!(head.payload[0], 0x8c, "{head:?}");
    // With a Host alone it is one of HTTP/1.1 that a proxy has passed on.
    client
        .send(&frame(1, 0x5, 3, b"\x82\x86\x84\x66\x04test"))
        .unwrap();
    let head = client.until(|frame| frame.stream == 3 && frame.kind == 1);
    assert_eq!(head.payload[0], 0x88, "{head:?}");
}

// --- room ---

#[test]
fn the_connection_that_has_been_idle_longest_is_closed_for_a_new_one() {
    let program = Setup::default()
        .set("server.max_connections", 3)
        .set("server.idle_timeout", LONG)
        .start();
    let mut old = Connection::open(program.main).unwrap();
    assert_eq!(old.get("/").unwrap().status, 200);
    let mut busy = Connection::open(program.main).unwrap();
    busy.send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut idle = Http2::open(program.main);
    idle.get(1, "/");
    idle.until(|frame| frame.stream == 1 && frame.flags & 1 == 1);

    let began = Instant::now();
    let mut kept = Connection::open(program.main).unwrap();
    assert_eq!(kept.get("/").unwrap().body, "hello");
    assert!(old.is_closed());
    // HTTP/2 announces the limit; requests in flight are not affected.
    let mut another = Connection::open(program.main).unwrap();
    assert_eq!(another.get("/").unwrap().body, "hello");
    assert!(idle.rest().contains(&GOAWAY));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(program.metric("http_server_connections_limit"), 3.0);
    assert_eq!(program.metric("http_server_connections_evicted_total"), 2.0);
    assert_eq!(program.metric("http_server_active_requests"), 1.0);
    drop(busy);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    assert_eq!(
        lines(&log, "at server.max_connections").count(),
        1,
        "{log:#?}"
    );
}

// --- invalid requests ---

#[test]
fn a_request_may_have_as_many_headers_as_max_headers() {
    let program = Setup::default().set("server.max_headers", 200).start();
    // One of them is its host.
    for (others, status) in [(199, 200), (200, 431)] {
        let mut client = Connection::open(program.main).unwrap();
        let headers = "a: b\r\n".repeat(others);
        let head = format!("GET / HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().status, status);
    }
}

#[test]
fn connections_without_a_valid_request_are_counted_by_reason_and_logged_once() {
    let program = Program::start();
    let many = format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "a: b\r\n".repeat(300)
    );
    let long = format!(
        "GET / HTTP/1.1\r\nhost: test\r\na: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let cases: [(&[u8], &str); 6] = [
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nhost: test\r\n\r\n",
            "proxy_protocol",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x04\xd2\x1f\x90",
            "proxy_protocol",
        ),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "tls"),
        (
            b"GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "malformed",
        ),
        (many.as_bytes(), "head_too_large"),
        (long.as_bytes(), "head_too_large"),
    ];
    let count =
        |reason: &str| program.metric(&format!("http_server_refused_total{{reason=\"{reason}\"}}"));
    for (sent, reason) in cases {
        let before = count(reason);
        let mut client = Connection::open(program.main).unwrap();
        client.send(sent).unwrap();
        let answer = client
            .answer()
            .unwrap_or_else(|error| panic!("{reason}: {error}"));
        assert!(matches!(answer.status, 400 | 431), "{reason}: {answer:?}");
        eventually(reason, || count(reason) == before + 1.0);
    }
    let headers = format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "a: b\r\n".repeat(99)
    );
    let mut client = Connection::open(program.main).unwrap();
    client.send(headers.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 200);
    let mut client = Http2::open(program.main);
    client.send(&frame(0, 0, 1, b"data of no stream")).unwrap();
    client.rest();
    eventually("http2", || count("http2") == 1.0);

    let (_, log) = program.stop();
    let told: Vec<_> = lines(&log, "request refused: ").collect();
    assert_eq!(told.len(), 1, "{log:#?}");
    assert_eq!(told[0]["client"], "127.0.0.1");
    assert_eq!(told[0]["reason"], "proxy_protocol");
    assert!(told[0]["message"].as_str().unwrap().contains("send-proxy"));
}
