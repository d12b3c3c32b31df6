//! A password in a URL appears nowhere: neither in what the service says, at any level, nor in what
//! it answers, nor in its traces.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::{BINARY, take};
use stores::{PASSWORD, PASSWORD_IN_URL, Postgres, Redis, Service, request, run, wait_for};

/// What nobody may read: the passwords, as they are and as they stand in a URL.
fn holds_no_password(what: &str, text: &str) {
    for secret in [PASSWORD, PASSWORD_IN_URL, "hunter2"] {
        let at = text.find(secret);
        let around = at.map(|at| &text[at.saturating_sub(200)..(at + 50).min(text.len())]);
        assert_eq!(around, None, "{what}");
    }
}

/// Keeps whatever is sent to it, as a collector of traces would.
struct Collector {
    url: String,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut bytes = [0; 65536];
                    while let Ok(read @ 1..) = stream.read(&mut bytes) {
                        kept.lock().expect("not poisoned").extend(&bytes[..read]);
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                });
            }
        });
        Self { url, received }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().expect("not poisoned")).into_owned()
    }
}

/// Asks for all that the service tells of itself, and holds it against the passwords.
fn tells_nothing(service: &Service) {
    for path in [
        "/",
        "/config",
        "/metrics",
        "/health/readiness",
        "/version",
        "/log",
    ] {
        let answer = service.admin(path);
        holds_no_password(path, &format!("{}{}", answer.head, answer.body));
    }
    let config = service.admin("/config").body;
    assert!(config.contains("[redacted]"), "{config}");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_password_is_told_nowhere_when_all_is_well_and_when_it_is_not() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let (database_url, redis_url) = (postgres.url(), redis.url());
    let variables = [
        ("DATABASE_URL", &*database_url),
        ("REDIS_URL", &*redis_url),
        ("RUST_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("APP__DATABASE__ACQUIRE_TIMEOUT", "200ms"),
    ];
    for arguments in [
        &["migrate"] as &[_],
        &["--print-config"],
        &["--check-config"],
    ] {
        let output = run(BINARY, folder.path(), &variables, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        holds_no_password(&format!("{arguments:?}"), &String::from_utf8_lossy(&said));
    }

    let service = Service::ready(BINARY, folder.path(), &variables);
    let main = service.address("main");
    let view = || request(main, "POST", "/orders/1/views", "").expect("an answer");
    assert_eq!(take(main, 1).expect("an answer").status, 201);
    assert_eq!(take(main, 1).expect("an answer").status, 409);
    assert_eq!(view().status, 200);
    tells_nothing(&service);

    postgres.stop();
    redis.kill();
    service.wait_until_ready(false);
    for answer in [take(main, 2).expect("an answer"), view()] {
        assert!(answer.is_unavailable(), "{answer:?}");
        holds_no_password("a 503", &answer.body);
    }
    tells_nothing(&service);
    postgres.start_again();
    redis.start_again();
    service.wait_until_ready(true);

    if cfg!(feature = "otlp") {
        wait_for("traces", || {
            collector.text().contains("/orders").then_some(())
        });
    }
    let ended = service.stop();
    assert!(ended.status.success(), "{}", ended.said);
    assert!(
        ended.said.contains("INSERT INTO orders"),
        "the log is that of `trace`"
    );
    holds_no_password("the log", &ended.said);
    holds_no_password("traces", &collector.text());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_password_is_told_nowhere_when_the_start_fails() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let folder = tempfile::tempdir().expect("a folder");
    let (database, cache) = (postgres.url(), redis.url());
    let wrong = |url: &str| url.replace(PASSWORD_IN_URL, "hunter2-of-yesterday");
    let malformed = |url: &str| url.replace(PASSWORD_IN_URL, PASSWORD);
    let fails = |urls: [&str; 2], code, helps: &str| {
        let variables = [
            ("DATABASE_URL", urls[0]),
            ("REDIS_URL", urls[1]),
            ("RUST_LOG", "trace"),
            ("APP__SERVICE__START_TIMEOUT", "1s"),
        ];
        let output = run(BINARY, folder.path(), &variables, &[]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(helps), "{helps}: {said}");
        holds_no_password(helps, &said);
    };
    fails([&wrong(&database), ""], 1, "password authentication failed");
    fails([&database, &wrong(&cache)], 1, "WRONGPASS");
    fails([&malformed(&database), ""], 78, "%2F");
    fails([&database, &malformed(&cache)], 78, "%XX");
    redis.kill();
    fails([&database, &cache], 1, "redis: not to be had within");
    postgres.stop();
    fails([&database, ""], 1, "database: not to be had within");
}
