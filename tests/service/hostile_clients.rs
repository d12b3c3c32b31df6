//! Clients that mean harm, or do harm: the others go on being served, in bounded memory.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Connection, get};
use crate::http2::{HEADERS, Http2, frame};
use crate::program::{Program, Setup, eventually};

const MIB: u64 = 1024 * 1024;

/// Every other client still has its answer, and nothing has panicked.
fn serves(program: &Program) {
    assert_eq!(get(program.main, "/").body, "hello");
    assert_eq!(program.metric("panics_total"), 0.0);
}

/// Its resident memory in bytes.
pub(crate) fn memory(program: &Program) -> u64 {
    let id = program.process.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS in KiB") * 1024
}

/// Lets this process open so many files, its clients' sockets among them.
fn raise_limit(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most >= files,
        "this test needs {files} open files, and the hard limit is {most}"
    );
    let raised = Rlimit {
        current: Some(files.max(limit.current.unwrap_or(0))),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("below the hard limit");
}

#[test]
fn slow_headers_end_at_their_timeout() {
    let program = Setup::default()
        .set("server.header_timeout", "300ms")
        .start();
    let mut silent = Connection::open(program.main).unwrap();
    let mut slow = Connection::open(program.main).unwrap();
    slow.send(b"GET / HTTP/1.1\r\nhost: te").unwrap();
    let mut kept = Connection::open(program.main).unwrap();
    assert_eq!(kept.get("/").unwrap().status, 200);
    let asked = Instant::now();
    // A byte now and then does not buy time.
    while !slow.is_closed() {
        let _ = slow.send(b"s");
        assert!(asked.elapsed() < Duration::from_secs(5), "still open");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        asked.elapsed() > Duration::from_millis(200),
        "{:?}",
        asked.elapsed()
    );
    eventually("silence ends too", || silent.is_closed());
    // Between requests there is more time than within a request's headers ...
    assert_eq!(kept.get("/").unwrap().status, 200);
    // ... of which the next one has no more than the first.
    kept.send(b"GET / HT").unwrap();
    eventually("slow headers of a later request end", || kept.is_closed());
    serves(&program);
}

#[test]
fn an_idle_connection_ends_at_its_timeout() {
    let program = Setup::default().set("server.idle_timeout", "300ms").start();
    let mut kept = Connection::open(program.main).unwrap();
    assert_eq!(kept.get("/sleep/600").unwrap().status, 200);
    let idle = Instant::now();
    eventually("closed", || kept.is_closed());
    assert!(
        idle.elapsed() > Duration::from_millis(200),
        "{:?}",
        idle.elapsed()
    );
    serves(&program);
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    raise_limit(12_000);
    let program = Setup::default()
        .set("server.max_connections", 20_000)
        .set("server.header_timeout", "5m")
        .files(12_000)
        .start();
    serves(&program);
    let before = memory(&program);
    let idle: Vec<_> = (0..10_000)
        .map(|_| Connection::open(program.main).expect("a connection"))
        .collect();
    eventually("all are accepted", || {
        program.metric("http_server_connections") >= 10_000.0
    });
    serves(&program);
    let each = memory(&program).saturating_sub(before) / 10_000;
    // Measured at about 4 KiB in a debug build.
    assert!(each < 16 * 1024, "{each} bytes a connection");
    drop(idle);
    eventually("all are gone", || {
        program.metric("http_server_connections") == 0.0
    });
}

#[test]
fn connections_over_the_limit_wait_and_are_served_in_turn() {
    let program = Setup::default().set("server.max_connections", 2).start();
    let first = Connection::open(program.main).unwrap();
    let second = Connection::open(program.main).unwrap();
    eventually("both are accepted", || {
        program.metric("http_server_connections") == 2.0
    });
    let mut third = Connection::open(program.main).unwrap();
    third.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    third.timeout(Duration::from_millis(200));
    assert!(third.answer().is_err(), "served over the cap");
    drop((first, second));
    third.timeout(Duration::from_secs(20));
    assert_eq!(third.answer().unwrap().body, "hello");
}

#[test]
fn the_service_survives_the_file_descriptor_limit() {
    let program = Setup::default()
        .set("server.header_timeout", "1m")
        .files(64)
        .start();
    let mut held: Vec<Connection> = Vec::new();
    eventually("no file is left", || {
        held.push(Connection::open(program.main).expect("the kernel accepts"));
        held.len() > 80
    });
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    eventually("accepts again", || {
        Connection::open(program.main)
            .and_then(|mut client| {
                client.timeout(Duration::from_secs(2));
                client.get("/")
            })
            .is_ok()
    });
    assert!(program.metric("http_server_accept_errors_total") > 0.0);
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    let said = log
        .iter()
        .filter(|line| line["message"] == "cannot accept connections; retrying");
    assert!((1..10).contains(&said.count()), "said once a burst");
}

#[test]
fn oversized_headers_and_garbage_are_rejected() {
    let program = Program::start();
    for (sent, status) in [
        (
            format!(
                "GET / HTTP/1.1\r\nhost: test\r\nbig: {}\r\n\r\n",
                "x".repeat(100_000)
            ),
            Some(431),
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
                "a: b\r\n".repeat(500)
            ),
            Some(431),
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(70_000)),
            None,
        ),
        ("\0\x01\x02 garbage \r\n\r\n".to_owned(), Some(400)),
        (
            "GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            Some(400),
        ),
        (
            "GET / HTTP/1.1\r\nhost: test\r\n\r\nnonsense\r\n\r\n".to_owned(),
            Some(200),
        ),
    ] {
        let mut client = Connection::open(program.main).unwrap();
        // The service may close before it has read all.
        let _ = client.send(sent.as_bytes());
        match (client.answer(), status) {
            (Ok(answer), Some(status)) => assert_eq!(answer.status, status, "{:.40}", sent),
            (Ok(answer), None) => assert!((400..500).contains(&answer.status), "{answer:?}"),
            // Reset, since we were still sending: the refusal got lost on the way.
            (Err(_), _) => assert!(sent.len() > 50_000, "{:.40}", sent),
        }
        eventually("it is shut out", || {
            let _ = client.answer();
            client.is_closed()
        });
    }
    serves(&program);
}

#[test]
fn a_request_without_exactly_one_valid_host_is_rejected() {
    let program = Program::start();
    let sent = |version: &str, hosts: &[&str]| {
        let hosts: String = hosts
            .iter()
            .map(|host| format!("host: {host}\r\n"))
            .collect();
        format!("GET /health/liveness HTTP/{version}\r\naccept: */*\r\n{hosts}\r\n")
    };
    let cases = [
        (sent("1.1", &["test"]), 200),
        (sent("1.1", &["[::1]:8080"]), 200),
        // A URI without an authority has no host to name.
        (sent("1.1", &[""]), 200),
        (sent("1.0", &[]), 200),
        (sent("1.0", &["test"]), 200),
        (sent("1.1", &[]), 400),
        (sent("1.1", &["test", "test"]), 400),
        (sent("1.1", &["user@test"]), 400),
        (sent("1.1", &["test/path"]), 400),
        (sent("1.1", &["a b"]), 400),
        (sent("1.0", &["test", "other"]), 400),
        (sent("1.0", &["test:port"]), 400),
        (
            "GET http://test/health/liveness HTTP/1.1\r\n\r\n".to_owned(),
            400,
        ),
    ];
    let refused = cases.iter().filter(|(_, status)| *status == 400).count();
    for (sent, status) in cases {
        for listener in [program.main, program.admin] {
            let mut client = Connection::open(listener).unwrap();
            client.send(sent.as_bytes()).unwrap();
            let answer = client.answer().unwrap();
            assert_eq!(answer.status, status, "{sent}");
            if status == 400 {
                assert_eq!(
                    answer.problem()["detail"],
                    "a request of HTTP/1.1 has one Host header, which names a host"
                );
            }
        }
    }
    // Of the main listener alone, as with every request.
    let series = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                  http_response_status_code=\"400\",http_route=\"unmatched\"}";
    assert_eq!(program.metric(series), refused as f64);
    serves(&program);
    let (_, log) = program.stop();
    let lines = log
        .iter()
        .filter(|line| line["target"] == "access" && line["status"] == 400);
    let ids: HashSet<_> = lines.map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), refused, "{log:#?}");
}

#[test]
fn a_connection_survives_a_request_without_a_host() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    // The end of a request is unambiguous for every host: its body is not a second request.
    let body = "GET /number/7 HTTP/1.1\r\nhost: test\r\n\r\n";
    let length = body.len();
    let lost = format!("POST /bytes HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}");
    client.send(lost.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 400);
    assert_eq!(client.get("/").unwrap().body, "hello");
}

#[test]
fn a_client_that_reads_no_response_is_disconnected() {
    let program = Setup::default().set("server.send_timeout", "300ms").start();
    let mut greedy = Connection::open(program.main).unwrap();
    greedy
        .send(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("it is accepted", || {
        program.metric("http_server_connections") == 1.0
    });
    eventually("it is let go", || {
        program.metric("http_server_connections") == 0.0
    });
    serves(&program);
}

#[test]
fn half_open_clients_are_disconnected() {
    let program = Setup::default()
        .set("server.header_timeout", "200ms")
        .start();
    let mut clients: Vec<_> = (0..100)
        .map(|_| Connection::open(program.main).unwrap())
        .collect();
    for client in &mut clients {
        client
            .send(b"POST /bytes HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n")
            .unwrap();
    }
    eventually("all are let go", || {
        program.metric("http_server_connections") == 0.0
    });
    serves(&program);
}

#[test]
fn an_http2_rapid_reset_ends_the_connection() {
    let program = Program::start();
    let before = memory(&program);
    let mut client = Http2::open(program.main);
    let mut sent = 0;
    for stream in (1..400_000).step_by(2) {
        let mut both = frame(1, 0x5, stream, HEADERS);
        both.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
        if client.send(&both).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 200_000 - 1, "it is never stopped");
    serves(&program);
    assert!(memory(&program) < before + 64 * MIB);
}

#[test]
fn an_http2_continuation_flood_ends_the_connection() {
    let program = Program::start();
    let before = memory(&program);
    let mut client = Http2::open(program.main);
    client.send(&frame(1, 0x1, 1, HEADERS)).unwrap();
    // A literal header field, again and again, and never END_HEADERS.
    let field = [&b"\x00\x01a\x7f\x81\x7f"[..], &[b'x'; 256]].concat();
    let flood = frame(9, 0, 1, &field.repeat(8));
    let ended = (0..100_000).any(|_| client.send(&flood).is_err());
    assert!(ended, "it is never stopped");
    serves(&program);
    assert!(memory(&program) < before + 64 * MIB);
}

#[test]
fn random_paths_and_methods_add_no_series() {
    let program = Setup::default().set("logs.access", false).start();
    let methods = ["GET", "PUT", "BREW", "X-RANDOM", "get", "PROPFIND"];
    let series = || get(program.admin, "/metrics").body.lines().count();
    let attack = |from: usize, requests: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let address = program.main;
                scope.spawn(move || {
                    let mut client = Connection::open(address).unwrap();
                    let numbers =
                        (from + thread * requests / 4)..(from + (thread + 1) * requests / 4);
                    let mut numbers = numbers.peekable();
                    while numbers.peek().is_some() {
                        // Pipelined, since there are many.
                        let batch: Vec<_> = numbers.by_ref().take(50).collect();
                        let requests: String = batch
                            .iter()
                            .map(|number| {
                                let method = methods[number % methods.len()];
                                format!(
                                    "{method} /{number:x}/{} HTTP/1.1\r\nhost: t\r\n\r\n",
                                    number * 7919
                                )
                            })
                            .collect();
                        client.send(requests.as_bytes()).unwrap();
                        for _ in batch {
                            assert_eq!(client.answer().unwrap().status, 404);
                        }
                    }
                });
            }
        });
    };
    attack(0, 400);
    let few = series();
    attack(400, 100_000);
    assert_eq!(series(), few);
}
