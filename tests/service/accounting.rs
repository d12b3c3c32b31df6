//! The end of a request, and its bytes in both directions: the same in the log and the metrics, over every kind of body
//! and both protocols. What is exported by OTLP is made of the same record.

use serde_json::Value;

use crate::client::{Connection, get};
use crate::http2::{Http2, RST_STREAM};
use crate::program::{Program, Setup, eventually};

/// Every kind of answer: the method and the path, its status, and how many bytes follow its head.
const ANSWERS: [(&str, &str, u16, u64); 17] = [
    ("GET", "/status/200", 200, 0),
    ("GET", "/status/204", 204, 0),
    ("GET", "/status/304", 304, 0),
    ("GET", "/memory/10", 200, 10),
    ("GET", "/memory/65536", 200, 65536),
    ("GET", "/memory/65537", 200, 65537),
    ("GET", "/memory/1000000", 200, 1_000_000),
    ("GET", "/told/0", 200, 0),
    ("GET", "/told/10", 200, 10),
    ("GET", "/told/200000", 200, 200_000),
    ("GET", "/untold/0", 200, 0),
    ("GET", "/untold/200000", 200, 200_000),
    ("GET", "/range", 206, 30),
    ("GET", "/trailers", 200, 5),
    ("HEAD", "/memory/1000000", 200, 0),
    ("HEAD", "/told/200000", 200, 0),
    ("HEAD", "/untold/200000", 200, 0),
];

/// The access line of a path, once it is there.
fn line(log: &[Value], method: &str, path: &str) -> Value {
    let is_it = |line: &&Value| {
        line["target"] == "access" && line["path"] == path && line["method"] == method
    };
    let lines: Vec<_> = log.iter().filter(is_it).collect();
    assert_eq!(lines.len(), 1, "{method} {path}: {log:#?}");
    lines[0].clone()
}

fn counted(program: &Program, method: &str, route: &str, status: u16) -> f64 {
    program.metric(&format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
    ))
}

#[test]
fn a_complete_http1_response_is_logged_with_its_status_and_bytes() {
    let program = Program::start();
    for (method, path, _, bytes) in ANSWERS {
        let mut client = Connection::open(program.main).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        let received = client.rest();
        assert!(received >= bytes, "{method} {path}: {received} bytes");
    }
    log_and_metrics_agree(program);
}

#[test]
fn a_complete_http2_response_is_logged_with_its_status_and_bytes() {
    let program = Program::start();
    let mut client = Http2::with_settings(program.main, &[(4, 10_000_000)]);
    client.window(10_000_000);
    for (stream, (method, path, _, bytes)) in (1..).step_by(2).zip(ANSWERS) {
        client.ask(stream, method, path);
        let mut received = 0;
        loop {
            let frame = client.next().expect("the connection goes on");
            if frame.stream == stream && frame.kind == 0 {
                received += frame.payload.len() as u64;
            }
            if frame.stream == stream && frame.flags & 1 == 1 {
                break;
            }
        }
        assert_eq!(received, bytes, "{method} {path}");
    }
    log_and_metrics_agree(program);
}

/// Checks that the log and the metrics agree with the bytes that were sent.
fn log_and_metrics_agree(program: Program) {
    let all = ANSWERS.len() as f64;
    eventually("all are over", || {
        program.metric("http_server_active_requests") == 0.0
            && ["GET", "HEAD"]
                .iter()
                .map(|method| {
                    [
                        "/status/{status}",
                        "/memory/{bytes}",
                        "/told/{bytes}",
                        "/untold/{bytes}",
                        "/range",
                        "/trailers",
                    ]
                    .iter()
                    .flat_map(|route| {
                        [200, 204, 206, 304].map(|status| counted(&program, method, route, status))
                    })
                    .sum::<f64>()
                })
                .sum::<f64>()
                == all
    });
    assert_eq!(program.metric("http_server_response_waiting_bytes"), 0.0);
    let (_, log) = program.stop();
    for (method, path, status, bytes) in ANSWERS {
        let line = line(&log, method, path);
        assert_eq!(
            (&line["status"], &line["response_bytes"]),
            (&status.into(), &bytes.into()),
            "{line}"
        );
    }
}

#[test]
fn a_client_that_disconnects_during_a_response_is_a_499_with_the_bytes_it_received() {
    let program = Program::start();
    for path in ["/memory/50000000", "/told/50000000", "/untold/50000000"] {
        let mut client = Connection::open(program.main).unwrap();
        client
            .send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
            .unwrap();
        client.bytes(1000).unwrap();
        drop(client);
    }
    eventually("all are over", || {
        program.metric("http_server_active_requests") == 0.0
    });
    assert_eq!(program.metric("http_server_response_waiting_bytes"), 0.0);
    let (_, log) = program.stop();
    for path in ["/memory/50000000", "/told/50000000", "/untold/50000000"] {
        let line = line(&log, "GET", path);
        assert_eq!(line["status"], 499, "{line}");
        let bytes = line["response_bytes"].as_u64().unwrap();
        assert!((1..50_000_000).contains(&bytes), "{line}");
    }
}

#[test]
fn a_buffered_response_is_in_flight_until_its_client_reads_it() {
    let program = Setup::default()
        .set("limits.concurrency", 1)
        .set("server.send_timeout", "1m")
        .start();
    let active = |count| {
        eventually("as many are under way", || {
            program.metric("http_server_active_requests") == count
        });
    };
    let mut client = Connection::open(program.main).unwrap();
    // More than the kernel holds, each of them small enough to be over with its head.
    let request = b"GET /memory/65536 HTTP/1.1\r\nhost: test\r\n\r\n";
    client.send(&request.repeat(200)).unwrap();
    let last = b"GET /number/1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    client.send(last).unwrap();
    active(1.0);
    let another = get(program.main, "/number/7");
    assert_eq!(another.status, 503, "{another:?}");
    client.rest();
    active(0.0);
    assert_eq!(get(program.main, "/number/7").status, 200);
}

#[test]
fn an_upgrade_is_complete_after_its_head() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(
            b"GET /socket HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 101);
    eventually("it is over", || {
        counted(&program, "GET", "/socket", 101) == 1.0
    });
    assert_eq!(program.metric("http_server_active_requests"), 0.0);
}

#[test]
fn an_upload_is_counted_as_it_arrives_however_it_is_framed() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /bytes HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n6\r\nchunks\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(client.answer().unwrap().body, "6");
    let mut client = Http2::open(program.main);
    client.request(1, "/bytes", false);
    client
        .send(&crate::http2::frame(0, 1, 1, b"streamed"))
        .unwrap();
    client.until(|frame| frame.stream == 1 && frame.flags & 1 == 1);
    eventually("both", || {
        program.metric("http_server_request_bytes_total") == 14.0
    });
    // A body that no handler reads is not counted.
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello")
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 404);
    assert_eq!(program.metric("http_server_request_bytes_total"), 14.0);
}

#[test]
fn an_aborted_upload_is_a_499_with_the_bytes_that_arrived() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /bytes HTTP/1.1\r\nhost: test\r\ncontent-length: 500\r\n\r\nhello")
        .unwrap();
    eventually("it is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    client.end();
    eventually("it is over", || {
        counted(&program, "POST", "/bytes", 499) == 1.0
    });
    let mut client = Http2::open(program.main);
    client.request(1, "/bytes", false);
    client
        .send(&crate::http2::frame(0, 0, 1, b"hello"))
        .unwrap();
    client
        .send(&crate::http2::frame(3, 0, 1, &8u32.to_be_bytes()))
        .unwrap();
    eventually("it is over", || {
        counted(&program, "POST", "/bytes", 499) == 2.0
    });
    assert_eq!(program.metric("http_server_request_bytes_total"), 10.0);
    // A client with wrong framing is still connected, and gets a response.
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(
            b"POST /bytes HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        )
        .unwrap();
    assert_eq!(client.answer().unwrap().status, 400);
    assert_eq!(counted(&program, "POST", "/bytes", 499), 2.0);
}

#[test]
fn an_http2_response_without_window_is_in_flight_until_the_send_timeout() {
    let program = Setup::default().set("server.send_timeout", "2s").start();
    // Room for one byte of each answer.
    let mut client = Http2::with_settings(program.main, &[(4, 1)]);
    let paths = [
        "/memory/1000",
        "/memory/10000",
        "/told/10000",
        "/untold/10000",
    ];
    for (stream, path) in (1..).step_by(2).zip(paths) {
        client.get(stream, path);
    }
    eventually("all are under way", || {
        program.metric("http_server_active_requests") == paths.len() as f64
    });
    let mut reset = 0;
    while reset < paths.len() {
        let frame = client.next().expect("the connection goes on");
        reset += usize::from(frame.kind == RST_STREAM);
    }
    eventually("all are over", || {
        program.metric("http_server_active_requests") == 0.0
    });
    let (_, log) = program.stop();
    for path in paths {
        assert_eq!(line(&log, "GET", path)["status"], 499);
    }
}
