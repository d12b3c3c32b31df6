//! A password in a URL appears nowhere: neither in what the service says, at any level, nor in what
//! it answers, nor in its traces.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use axum_chassis_testing::{Process, Program};
use stores::{
    Load, PASSWORD, PASSWORD_IN_URL, PgBouncer, Postgres, Proxy, Redis, request, wait_for,
    wait_until_not_ready,
};

use crate::{acknowledged, program, run, take};

/// Checks that a text has no password, neither as it is nor as it is written in a URL.
pub(crate) fn has_no_password(what: &str, text: &str) {
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

    /// Has the service log everything and send its traces here.
    fn observe(&self, program: Program) -> Program {
        program
            .variable("RUST_LOG", "trace")
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url)
            .variable("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
            .variable("OTEL_BSP_SCHEDULE_DELAY", "100")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().expect("not poisoned")).into_owned()
    }
}

/// Requests everything that the service shows, and searches it for the passwords.
pub(crate) fn shows_no_password(service: &Process) {
    for path in [
        "/",
        "/config",
        "/metrics",
        "/health/readiness",
        "/version",
        "/log",
        "/status",
    ] {
        let answer = service.admin().get(path);
        has_no_password(path, &format!("{:?}{}", answer.headers, answer.text()));
    }
    let config = service.admin().get("/config").text().to_owned();
    assert!(config.contains("[redacted]"), "{config}");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn no_password_is_shown_when_stores_work_and_when_they_fail() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let collector = Collector::start();
    let program = collector
        .observe(program())
        .variable("DATABASE_URL", postgres.url())
        .variable("REDIS_URL", redis.url())
        .set("database.acquire_timeout", "2s");
    for argument in ["migrate", "--print-config", "--check-config"] {
        let ended = run(program.clone(), argument);
        has_no_password(argument, &(ended.stdout + &ended.stderr));
    }

    let service = program.start();
    let main = service.main().address();
    let view = || request(main, "POST", "/orders/1/views", "").expect("an answer");
    assert_eq!(take(main, 1).expect("an answer").status, 201);
    assert_eq!(take(main, 1).expect("an answer").status, 409);
    assert_eq!(view().status, 200);
    shows_no_password(&service);

    postgres.stop();
    redis.kill();
    wait_until_not_ready(&service);
    for answer in [take(main, 2).expect("an answer"), view()] {
        assert!(answer.is_unavailable(), "{answer:?}");
        has_no_password("a 503", &answer.body);
    }
    shows_no_password(&service);
    postgres.start_again();
    redis.start_again();
    service.wait_until_ready();

    wait_for("traces", || {
        collector.text().contains("/orders").then_some(())
    });
    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    let said = ended.stdout + &ended.stderr;
    assert!(
        said.contains("INSERT INTO orders"),
        "the log is that of `trace`"
    );
    has_no_password("the log", &said);
    has_no_password("traces", &collector.text());
}

/// A wrong and a new password, connections that go silent, a failover and a migration through a pooler.
#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn no_password_is_shown_during_rotation_silence_and_failover() {
    let postgres = Postgres::start();
    let pooler = PgBouncer::start(&postgres, "session");
    let proxy = Proxy::start(postgres.address());
    let program = program().variable("RUST_LOG", "trace");
    for url in [pooler.url(&postgres), postgres.url()] {
        let migrated = run(program.clone().variable("DATABASE_URL", url), "migrate");
        has_no_password("migrate", &(migrated.stdout + &migrated.stderr));
    }
    postgres.query("CREATE ROLE service LOGIN SUPERUSER PASSWORD 'hunter2-first'");
    let folder = tempfile::tempdir().expect("a folder");
    let give = |password: &str| {
        let url = format!(
            "postgres://service:{password}@127.0.0.1:{}/postgres?sslmode=disable",
            proxy.port()
        );
        let new = folder.path().join(".new");
        std::fs::write(&new, url).expect("a file");
        std::fs::rename(&new, folder.path().join("database-url")).expect("a file");
    };
    give("hunter2-first");
    let program = program.variable("APP_SECRETS_DIR", folder.path().display().to_string());
    let printed = run(program.clone(), "--print-config");
    has_no_password("--print-config", &(printed.stdout + &printed.stderr));
    let service = program.start();
    let main = service.main().address();
    let takes = |number| {
        wait_for("an order", || {
            let answer = take(main, number).expect("an answer");
            has_no_password("an answer", &format!("{answer:?}"));
            (answer.status == 201).then_some(())
        });
    };
    takes(1);

    give("hunter2-of-yesterday");
    service.wait_for_message(
        "the new value of a setting does not work: the one before it stays in use",
    );
    shows_no_password(&service);
    postgres.query("ALTER ROLE service PASSWORD 'hunter2-second'");
    give("hunter2-second");
    service.wait_for_message("the new value of a setting is in use");
    takes(2);
    shows_no_password(&service);

    proxy.silence();
    takes(3);
    shows_no_password(&service);

    postgres.turn_read_only();
    wait_for("a refusal", || {
        let answer = take(main, 4).expect("an answer");
        has_no_password("a 503", &format!("{answer:?}"));
        (answer.status == 503).then_some(())
    });
    shows_no_password(&service);

    let ended = service.stop();
    has_no_password("the log", &(ended.stdout + &ended.stderr));
}

/// A primary that turns read-only under load, and a standby that takes its place.
#[test]
#[ignore = "needs PostgreSQL"]
fn no_password_is_shown_when_a_standby_is_promoted() {
    let primary = Postgres::start();
    run(program().variable("DATABASE_URL", primary.url()), "migrate");
    let standby = primary.standby();
    let proxy = Proxy::start(primary.address());
    let collector = Collector::start();
    let url = format!(
        "{}?sslmode=disable&target_session_attrs=read-write",
        primary.url_through(&proxy)
    );
    let service = collector
        .observe(program())
        .variable("DATABASE_URL", url)
        .start();
    let main = service.main().address();
    let load = Load::start(4, move |number| take(main, number));
    load.wait_for(50, 201);

    primary.turn_read_only();
    load.wait_for(8, 503);
    wait_until_not_ready(&service);
    let report = service.admin().get("/health/readiness").text().to_owned();
    assert!(report.contains("the server is read-only"), "{report}");
    shows_no_password(&service);

    primary.promote(&standby);
    proxy.retarget(standby.address());
    load.wait_for(50, 201);
    service.wait_until_ready();
    shows_no_password(&service);

    let asked = load.finish();
    for one in &asked {
        has_no_password("an answer", &format!("{:?}", one.answer));
        assert!([201, 503].contains(&one.status()), "{one:?}");
    }
    acknowledged(&asked, &standby.query("SELECT reference FROM orders"));
    wait_for("traces", || {
        collector.text().contains("/orders").then_some(())
    });
    let ended = service.stop();
    has_no_password("the log", &(ended.stdout + &ended.stderr));
    has_no_password("traces", &collector.text());
}

/// A new password in a mounted secret, with the old one refused, under load; and a wrong one before.
#[test]
#[ignore = "needs Redis"]
fn a_rotated_redis_password_is_used_without_a_restart_and_a_wrong_one_changes_nothing() {
    let redis = Redis::start();
    let acl = |words: &[&str]| {
        let answer = redis.command(&[&["ACL", "SETUSER", "service"], words].concat());
        assert_eq!(answer.matches("+OK").count(), 3, "{answer}");
    };
    acl(&["on", ">hunter2-first", "~*", "+@all"]);
    let folder = tempfile::tempdir().expect("a folder");
    let give = |password: &str| {
        let url = format!("redis://service:{password}@{}/0", redis.address());
        let new = folder.path().join(".new");
        std::fs::write(&new, url).expect("a file");
        std::fs::rename(&new, folder.path().join("redis-url")).expect("a file");
    };
    give("hunter2-first");
    let files = tempfile::tempdir().expect("a folder");
    let database = files.path().join("orders.db");
    let service = program()
        .variable("DATABASE_URL", format!("sqlite:{}", database.display()))
        .variable("APP_SECRETS_DIR", folder.path().display().to_string())
        .variable("RUST_LOG", "info,access=off,redis=trace")
        .set("redis.pool_size", 3)
        .start();
    let main = service.main().address();
    let load = Load::start(8, move |_| request(main, "POST", "/orders/1/views", ""));
    load.wait_for(100, 200);

    give("hunter2-of-yesterday");
    service.wait_for_message(
        "the new value of a setting does not work: the one before it stays in use",
    );
    load.wait_for(100, 200);
    shows_no_password(&service);

    let before = redis.command(&["CLIENT", "LIST"]);
    let of_before: Vec<_> = before
        .lines()
        .filter(|line| line.contains("user=service"))
        .filter_map(|line| line.split(' ').next())
        .map(|id| format!("{id} "))
        .collect();
    assert!(of_before.len() >= 3, "{before}");
    acl(&["<hunter2-first", ">hunter2-second"]);
    give("hunter2-second");
    service.wait_for_message("the new value of a setting is in use");
    wait_for("no connection from before", || {
        let now = redis.command(&["CLIENT", "LIST"]);
        let stays = |id: &String| now.lines().any(|line| line.starts_with(&**id));
        (!of_before.iter().any(stays)).then_some(())
    });
    load.wait_for(100, 200);
    let asked = load.finish();
    let failed: Vec<_> = asked.iter().filter(|one| one.status() != 200).collect();
    println!("{} of {} failed", failed.len(), asked.len());
    assert!(failed.is_empty(), "{:?}", failed[0]);
    shows_no_password(&service);
    let ended = service.stop();
    has_no_password("the log", &(ended.stdout + &ended.stderr));
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn no_password_is_shown_when_the_start_fails() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let (database, cache) = (postgres.url(), redis.url());
    let wrong = |url: &str| url.replace(PASSWORD_IN_URL, "hunter2-of-yesterday");
    let malformed = |url: &str| url.replace(PASSWORD_IN_URL, PASSWORD);
    let fails = |urls: [&str; 2], code, helps: &str| {
        let program = program()
            .variable("DATABASE_URL", urls[0])
            .variable("REDIS_URL", urls[1])
            .variable("RUST_LOG", "trace")
            .set("service.start_timeout", "1s");
        let ended = program.output();
        let said = ended.stdout + &ended.stderr;
        assert_eq!(ended.code, Some(code), "{said}");
        assert!(said.contains(helps), "{helps}: {said}");
        has_no_password(helps, &said);
    };
    fails([&wrong(&database), ""], 1, "password authentication failed");
    fails([&database, &wrong(&cache)], 1, "WRONGPASS");
    fails([&malformed(&database), ""], 78, "%2F");
    fails([&database, &malformed(&cache)], 78, "%XX");
    redis.kill();
    fails([&database, &cache], 1, "redis: not available after");
    postgres.stop();
    fails([&database, ""], 1, "database: not available after");
}
