//! Peers that are slow, silent or hostile, on both listeners and in both protocols: how long they hold a place, what they
//! cost in memory, and whether another client is answered meanwhile.
//!
//! ```sh
//! cargo test --all-features --test service -- --ignored --nocapture slow_clients
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::{Connection, get};
use crate::hostile_clients::memory;
use crate::http2::{Http2, WINDOW_UPDATE, frame};
use crate::program::{Program, Setup};

/// Each peer comes with so many connections.
const CONNECTIONS: usize = 20;
/// And so many streams of HTTP/2 in each.
const STREAMS: u32 = 20;
/// A peer that is still there by then is not let go: the longest limit is `limits.request_timeout`, 30 s.
const LATEST: Duration = Duration::from_secs(50);

/// A client with a connection of its own.
enum Peer {
    Http1(Connection),
    Http2(Http2),
}

struct Kind {
    name: &'static str,
    /// For the main listener, and for the admin one.
    paths: [&'static str; 2],
    open: fn(SocketAddr, &str) -> Peer,
    /// An action that it repeats.
    on: fn(&mut Peer),
    /// The number of streams whose end an HTTP/2 connection waits for; `u32::MAX` for its own end.
    streams: u32,
    answers_pings: bool,
}

const HTTP1: Kind = Kind {
    name: "",
    paths: ["/", "/"],
    open: |address, path| http1(address, &format!("GET {path} HTTP/1.1\r\nhost: te")),
    on: |_| {},
    streams: 0,
    answers_pings: false,
};

const HTTP2: Kind = Kind {
    paths: ["/memory/100000", "/"],
    open: without_a_window,
    streams: STREAMS,
    answers_pings: true,
    ..HTTP1
};

const KINDS: [Kind; 10] = [
    Kind {
        name: "HTTP/1, sends half a head",
        ..HTTP1
    },
    Kind {
        name: "HTTP/1, sends a byte of a head now and then",
        on: |peer| {
            if let Peer::Http1(client) = peer {
                let _ = client.send(b"s");
            }
        },
        ..HTTP1
    },
    Kind {
        name: "HTTP/1, a head that is refused, and no end",
        open: |address, path| {
            http1(
                address,
                &format!("GET {path} HTTP/1.1\r\nhost: test\r\na b\r\n\r\n"),
            )
        },
        ..HTTP1
    },
    Kind {
        name: "HTTP/1, sends half a body",
        paths: ["/bytes", "/log"],
        open: |address, path| http1(address, &post(path, 100)),
        ..HTTP1
    },
    Kind {
        name: "HTTP/1, a body that nobody reads, and no end",
        paths: ["/nowhere", "/nowhere"],
        open: |address, path| http1(address, &post(path, 1_000_000)),
        ..HTTP1
    },
    Kind {
        name: "HTTP/1, takes nothing of its answers",
        paths: ["/memory/1000000", "/metrics"],
        open: |address, path| {
            http1(
                address,
                &format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").repeat(1000),
            )
        },
        ..HTTP1
    },
    Kind {
        name: "HTTP/2, a window of 0, and answers to PINGs",
        ..HTTP2
    },
    Kind {
        name: "HTTP/2, a window of a byte now and then",
        on: |peer| {
            if let Peer::Http2(client) = peer {
                for stream in 0..STREAMS {
                    let byte = frame(WINDOW_UPDATE, 0, 2 * stream + 1, &1u32.to_be_bytes());
                    let _ = client.send(&byte);
                }
            }
        },
        ..HTTP2
    },
    Kind {
        name: "HTTP/2, sends half a body",
        paths: ["/bytes", "/log"],
        open: |address, path| {
            let mut client = Http2::open(address);
            for stream in 0..STREAMS {
                client.request(2 * stream + 1, path, false);
            }
            Peer::Http2(client)
        },
        ..HTTP2
    },
    Kind {
        name: "HTTP/2, idle, and no answer to a PING",
        open: |address, _| {
            let mut client = Http2::open(address);
            client.get(1, "/health/liveness");
            Peer::Http2(client)
        },
        streams: u32::MAX,
        answers_pings: false,
        ..HTTP2
    },
];

/// A POST with the first bytes of its body.
fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\nhalf")
}

/// HTTP/2 whose streams have a window of 0, and a request on each.
fn without_a_window(address: SocketAddr, path: &str) -> Peer {
    let mut client = Http2::with_settings(address, &[(4, 0)]);
    for stream in 0..STREAMS {
        client.get(2 * stream + 1, path);
    }
    Peer::Http2(client)
}

fn http1(address: SocketAddr, sent: &str) -> Peer {
    let mut client = Connection::open(address).unwrap();
    client.send(sent.as_bytes()).unwrap();
    Peer::Http1(client)
}

/// Connections of this process to the admin listener, beside those of the test itself.
fn open_sockets(program: &Program) -> usize {
    let port = format!(":{:04X}", program.admin.port());
    let id = program.process.id();
    let table = std::fs::read_to_string(format!("/proc/{id}/net/tcp")).expect("/proc");
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(&port));
        // ESTABLISHED and CLOSE_WAIT.
        local && matches!(fields.nth(1), Some("01" | "08"))
    };
    table.lines().filter(established).count()
}

#[test]
#[ignore = "takes five minutes, most of them waiting"]
fn nightly_every_slow_peer_is_disconnected_and_others_are_served_meanwhile() {
    let rows: Vec<(bool, &Kind)> = [true, false]
        .into_iter()
        .flat_map(|main| KINDS.iter().map(move |kind| (main, kind)))
        // The admin listener serves HTTP/1 only.
        .filter(|(main, kind)| *main || !kind.name.starts_with("HTTP/2"))
        .collect();
    println!(
        "| port | client | disconnected after | memory | slowest response to others |\n|---|---|---:|---:|---:|"
    );
    for (main, kind) in rows {
        let program = Setup::default().set("logs.access", false).start();
        let (address, path) = if main {
            (program.main, kind.paths[0])
        } else {
            (program.admin, kind.paths[1])
        };
        assert_eq!(get(program.main, "/").status, 200);
        let before = memory(&program);
        let began = Instant::now();
        let mut peers: Vec<Peer> = (0..CONNECTIONS)
            .map(|_| (kind.open)(address, path))
            .collect();
        let (mut most, mut slowest) = (before, Duration::ZERO);
        let mut gone = 0;
        loop {
            let asked = Instant::now();
            let (other, path) = if main {
                (program.main, "/")
            } else {
                (program.admin, "/health/liveness")
            };
            assert_eq!(get(other, path).status, 200, "{}", kind.name);
            slowest = slowest.max(asked.elapsed());
            most = most.max(memory(&program));
            let held = match peers[0] {
                Peer::Http2(_) => peers.iter_mut().any(|peer| match peer {
                    Peer::Http2(client) => !client.has_ended(kind.streams, kind.answers_pings),
                    Peer::Http1(_) => false,
                }),
                Peer::Http1(_) if main => program.metric("http_server_connections") > 0.0,
                Peer::Http1(_) => open_sockets(&program) > 3,
            };
            gone = if held { 0 } else { gone + 1 };
            // Not before all have been accepted.
            if gone > 2 && began.elapsed() > Duration::from_secs(1) {
                break;
            }
            assert!(
                began.elapsed() < LATEST,
                "{} is never let go (main: {main})",
                kind.name
            );
            peers.iter_mut().for_each(kind.on);
            std::thread::sleep(Duration::from_millis(100));
        }
        let mib = most.saturating_sub(before) as f64 / 1048576.0;
        println!(
            "| {} | {} | {:.0} s | {mib:.1} MiB | {} ms |",
            if main { "main" } else { "admin" },
            kind.name,
            began.elapsed().as_secs_f64(),
            slowest.as_millis(),
        );
        assert!(mib < 64.0, "{}: {mib} MiB", kind.name);
        assert!(
            slowest < Duration::from_secs(2),
            "{}: {slowest:?}",
            kind.name
        );
    }
}
