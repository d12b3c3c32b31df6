//! Room in memory: what clients send takes a bounded part of it, and others are served meanwhile.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Connection, get, post, request};
use crate::http2::Http2;
use crate::program::{Program, Setup, TOKEN, eventually};

const KIB: usize = 1024;

/// The head of a POST, and so much of its body.
fn begin(program: &Program, path: &str, length: usize, sent: usize) -> Connection {
    let mut client = Connection::open(program.main).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    client.send(head.as_bytes()).unwrap();
    // The service stops reading a body that it rejects.
    let _ = client.send(&vec![b'x'; sent]);
    client
}

fn buffered(program: &Program) -> f64 {
    program.metric("http_server_buffered_bytes")
}

#[test]
fn bodies_beyond_the_memory_limit_are_503_and_small_ones_are_served() {
    let program = Setup::default().set("limits.buffered", "1MiB").start();
    assert_eq!(
        program.metric("http_server_buffered_limit_bytes"),
        1024.0 * 1024.0
    );
    let slow: Vec<_> = (0..2)
        .map(|_| begin(&program, "/bytes", 500 * KIB, 450 * KIB))
        .collect();
    eventually("both are held", || buffered(&program) > 850.0 * 1024.0);

    let mut third = begin(&program, "/bytes", 500 * KIB, 500 * KIB);
    let answer = third.answer().unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.problem()["status"], 503);
    assert_eq!(program.metric("http_server_requests_shed_total"), 1.0);

    let small = "x".repeat(16 * KIB);
    assert_eq!(
        post(program.main, "/bytes", "text/plain", &small).status,
        200
    );
    assert_eq!(get(program.main, "/").status, 200);

    drop(slow);
    eventually("all is given back", || buffered(&program) == 0.0);
    let large = "x".repeat(900 * KIB);
    assert_eq!(
        post(program.main, "/bytes", "text/plain", &large).status,
        200
    );
    eventually("all is given back", || buffered(&program) == 0.0);
}

#[test]
fn a_collected_body_reserves_memory_until_its_request_ends() {
    let program = Setup::default().set("limits.buffered", "1MiB").start();
    let mut waiting = begin(&program, "/slowly/2000", 800 * KIB, 800 * KIB);
    eventually("all of it is there", || {
        buffered(&program) >= 784.0 * 1024.0
    });
    let mut second = begin(&program, "/bytes", 500 * KIB, 500 * KIB);
    assert_eq!(second.answer().unwrap().status, 503);
    assert_eq!(waiting.answer().unwrap().body, (800 * KIB).to_string());
    eventually("all is given back", || buffered(&program) == 0.0);
}

#[test]
fn a_body_of_many_small_chunks_reserves_the_memory_that_they_use() {
    let program = Setup::default().set("limits.buffered", "1MiB").start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"POST /bytes HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    // As bytes they are 100 kB.
    let _ = client.send("1\r\nx\r\n".repeat(100_000).as_bytes());
    assert_eq!(client.answer().unwrap().status, 503);
    eventually("all is given back", || buffered(&program) == 0.0);
}

#[test]
fn a_body_that_is_read_after_the_response_releases_its_memory() {
    let program = Setup::default().set("limits.buffered", "1MiB").start();
    let mut client = begin(&program, "/later", 500 * KIB, 100 * KIB);
    assert_eq!(client.answer().unwrap().status, 200);
    let _ = client.send(&vec![b'x'; 400 * KIB]);
    drop(client);
    eventually("all is given back", || buffered(&program) == 0.0);
}

#[test]
fn a_body_that_is_not_kept_may_have_any_length() {
    let program = Setup::default().set("limits.buffered", "256KiB").start();
    let mut client = begin(&program, "/discard", 8 * KIB * KIB, 8 * KIB * KIB);
    assert_eq!(client.answer().unwrap().body, (8 * KIB * KIB).to_string());
    assert_eq!(buffered(&program), 0.0);
}

#[test]
fn print_config_has_the_effective_limits_and_their_reasons() {
    let ended = Setup::default()
        .set("server.max_connections", 7)
        .set("limits.buffered", "1MiB")
        .run("--print-config");
    for line in [
        "# server.max_connections = 7 (set)",
        "# limits.buffered = 1MiB (set)",
        "# limits.concurrency = ",
        "# service.threads = ",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn without_idle_connections_one_that_waits_for_its_client_is_closed() {
    let program = Setup::default().set("server.max_connections", 2).start();
    for request in [
        "GET /memory/50000000 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /bytes HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: local",
    ] {
        let held = [(); 2].map(|()| {
            let mut client = Connection::open(program.main).unwrap();
            client.send(request.as_bytes()).unwrap();
            client
        });
        eventually("all places are taken", || {
            program.metric("http_server_connections") == 2.0
        });
        let asked = Instant::now();
        assert_eq!(get(program.main, "/").status, 200);
        // Far less than server.send_timeout and server.header_timeout.
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{:?}",
            asked.elapsed()
        );
        drop(held);
    }
    assert!(program.metric("http_server_connections_evicted_total") >= 2.0);
}

#[test]
fn a_rejected_http2_request_leaves_no_body_in_memory() {
    let program = Setup::default().set("limits.concurrency", 1).start();
    let mut busy = Connection::open(program.main).unwrap();
    busy.send(b"GET /sleep/3000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    eventually("busy", || {
        program.metric("http_server_active_requests") == 1.0
    });
    let mut client = Http2::with_settings(program.main, &[(4, 0)]);
    for stream in 0..20 {
        client.get(2 * stream + 1, "/");
    }
    eventually("all are answered", || client.has_ended(20, false));
    assert_eq!(busy.answer().unwrap().status, 200, "while it is busy");
}

#[test]
fn probes_are_answered_when_all_slots_of_the_admin_listener_are_taken() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let asks = |what: &str| {
        let answer = get(program.admin, "/health/liveness");
        assert_eq!(answer.status, 200, "{what}");
    };
    for (what, head) in [
        ("nothing sent", ""),
        ("half a head", "GET / HTTP/1.1\r\nhost: local"),
        (
            "a change without its body",
            "POST /log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n",
        ),
    ] {
        // More than there are places.
        let held: Vec<_> = (0..300)
            .map(|_| {
                let mut client = Connection::open(program.admin).unwrap();
                let _ = client.send(head.as_bytes());
                client
            })
            .collect();
        let asked = Instant::now();
        asks(what);
        // A probe of the manifests waits for 2 s, and three have to fail in a row.
        assert!(
            asked.elapsed() < Duration::from_secs(6),
            "{what}: {:?}",
            asked.elapsed()
        );
        drop(held);
    }
    let refused = request(program.admin, "PUT", "/log", &[], "off");
    assert_eq!(refused.status, 401);
}

#[test]
fn probes_are_answered_during_a_connection_flood_on_the_admin_listener() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let scrapes = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50);
    for (what, sent) in [
        ("nothing sent", ""),
        ("half a head", "GET / HTTP/1.1\r\nhost: local"),
        (
            "a change without its body",
            "PUT /log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n",
        ),
        (
            "an answer",
            "GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ),
        ("many scrapes", &scrapes),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let is_over = AtomicBool::new(false);
        let flood = || {
            let mut held = VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                let Ok(mut client) = Connection::open(program.admin) else {
                    continue;
                };
                let _ = client.send(sent.as_bytes());
                held.push_back(client);
                if held.len() > 500 {
                    held.pop_front();
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(flood);
            scope.spawn(flood);
            // Until all places and the kernel's queue are taken.
            std::thread::sleep(Duration::from_secs(1));
            // As in the manifests: a probe waits for 2 s, and the third that fails in a row restarts the pod.
            let mut failed = 0;
            for _ in 0..6 {
                match is_live(&program, Duration::from_secs(2)) {
                    true => failed = 0,
                    false => failed += 1,
                }
                if failed == 3 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(failed < 3, "{what}");
        });
    }
}

/// Whether a probe has its answer in time.
fn is_live(program: &Program, patience: Duration) -> bool {
    let asked = Instant::now();
    let answer = TcpStream::connect_timeout(&program.admin, patience).and_then(|mut stream| {
        let left = patience.saturating_sub(asked.elapsed());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        stream.write_all(b"GET /health/liveness HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status)
    });
    answer.is_ok_and(|status| &status == b"HTTP/1.1 200")
}

#[test]
fn idle_http2_connections_are_closed_one_by_one_without_a_pause() {
    let program = Setup::default().set("server.max_connections", 8).start();
    let idle = |_| {
        let mut client = Http2::open(program.main);
        client.get(1, "/");
        client
    };
    let began = Instant::now();
    // Each but the first eight waits for another to go.
    let held: Vec<_> = (0..60).map(idle).collect();
    assert_eq!(get(program.main, "/").status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    drop(held);
}

#[test]
fn the_admin_listener_serves_no_http2_and_logs_it() {
    let program = Program::start();
    let mut client = Connection::open(program.admin).unwrap();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    eventually("closed", || client.is_closed());
    let line = program
        .process
        .wait_for_message("request refused: the admin port serves HTTP/1.1 only");
    assert_eq!(line["reason"], "no_http2");
}
