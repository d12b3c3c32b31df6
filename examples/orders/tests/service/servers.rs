//! The service on PostgreSQL and Redis, which go away and come back while clients are asking.

use std::time::{Duration, Instant};

use axum_chassis_testing::{Process, Program};
use stores::{
    Asked, Certificates, Load, Postgres, Redis, metric, request, wait_for, wait_until_not_ready,
};

use crate::{acknowledged, program, run, take};

struct Fixture {
    postgres: Postgres,
    redis: Redis,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            postgres: Postgres::start(),
            redis: Redis::start(),
        };
        run(fixture.program(), "migrate");
        fixture
    }

    fn program(&self) -> Program {
        program()
            .variable("DATABASE_URL", self.postgres.url())
            .variable("REDIS_URL", self.redis.url())
    }

    /// Has every connection of the pool at work for a moment; others are opened only when they are needed.
    fn fill(&self, service: &Process, connections: f64) {
        let held = self.postgres.lock_orders();
        wait_for("a pool at work", || {
            (in_state(service, "used") == connections).then_some(())
        });
        assert_eq!(in_state(service, "idle"), 0.0);
        drop(held);
    }

    fn references(&self) -> Vec<String> {
        self.postgres.query("SELECT reference FROM orders")
    }
}

pub(crate) fn in_state(service: &Process, state: &str) -> f64 {
    let name = format!(
        "db_client_connection_count{{db_client_connection_pool_name=\"database\",\
         db_client_connection_state=\"{state}\"}}"
    );
    metric(service, &name).expect(&name)
}

pub(crate) fn is_alive(service: &Process) {
    for listener in [service.main(), service.admin()] {
        assert_eq!(listener.get("/health/liveness").status, 200);
    }
}

/// Nothing but `good` and 503s as they should be, and no 503 of a request that was sent later than
/// `back`.
fn no_worse_than_503(asked: &[Asked], good: u16, back: Instant) {
    for one in asked.iter().filter(|one| one.status() != good) {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
        assert!(one.begun < back, "failed after all was well again: {one:?}");
    }
}

pub(crate) fn did_not_panic(service: &Process) {
    assert_eq!(metric(service, "panics_total"), Some(0.0));
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn an_error_of_the_database_is_logged_with_the_message_of_the_database() {
    let fixture = Fixture::new();
    let service = fixture.program().start();
    fixture.postgres.query("DROP TABLE orders");
    assert_eq!(service.main().get("/orders/1").status, 500);
    let ended = service.stop();
    let failed = |line: &&serde_json::Value| line["message"] == "request failed";
    let line = ended.log.iter().find(failed).expect("a line");
    assert_eq!(line["error"], "relation \"orders\" does not exist");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_database_restart_causes_503s_only_while_it_is_down() {
    let mut fixture = Fixture::new();
    let service = fixture
        .program()
        .set("database.max_connections", "5")
        .start();
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    load.wait_for(200, 201);
    fixture.fill(&service, 5.0);

    fixture.postgres.stop();
    wait_until_not_ready(&service);
    load.wait_for(20, 503);
    is_alive(&service);
    let report = service.admin().get("/health/readiness").text().to_owned();
    assert!(report.contains("database"), "{report}");

    fixture.postgres.start_again();
    service.wait_until_ready();
    let back = Instant::now();
    load.wait_for(200, 201);
    fixture.fill(&service, 5.0);
    load.wait_for(200, 201);

    let asked = load.finish();
    no_worse_than_503(&asked, 201, back);
    acknowledged(&asked, &fixture.references());
    wait_for("connections to come back", || {
        (in_state(&service, "used") == 0.0).then_some(())
    });
    // The connections of the pool, and the one of the readiness check.
    let open = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND \
                pid <> pg_backend_pid()";
    assert_eq!(fixture.postgres.query(open), ["6"]);
    did_not_panic(&service);
    assert_eq!(service.stop().code, Some(0));
    wait_for("closed connections", || {
        (fixture.postgres.query(open) == ["0"]).then_some(())
    });
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_database_restart_while_idle_does_not_fail_the_next_request() {
    let mut fixture = Fixture::new();
    let service = fixture
        .program()
        .set("health.interval", "1m")
        .set("database.max_connections", "3")
        .start();
    let main = service.main().address();
    let load = Load::start(4, move |number| take(main, number));
    load.wait_for(10, 201);
    fixture.fill(&service, 3.0);
    load.finish();
    fixture.postgres.stop();
    fixture.postgres.start_again();
    for number in 1001..=1006 {
        let answer = take(main, number).expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn an_exhausted_pool_is_a_503_only_for_requests_that_need_a_connection() {
    let fixture = Fixture::new();
    let service = fixture
        .program()
        .set("database.max_connections", "2")
        .set("database.acquire_timeout", "200ms")
        .set("database.statement_timeout", "0s")
        .start();
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    load.wait_for(100, 201);

    let held = fixture.postgres.lock_orders();
    let locked = Instant::now();
    load.wait_for(30, 503);
    assert_eq!(
        (in_state(&service, "idle"), in_state(&service, "used")),
        (0.0, 2.0)
    );
    let max = "db_client_connection_max{db_client_connection_pool_name=\"database\"}";
    assert_eq!(metric(&service, max), Some(2.0));
    is_alive(&service);
    for (method, path) in [("GET", "/"), ("POST", "/orders/1/views")] {
        let answer = request(main, method, path, "").expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Long enough for several rounds of the check: a busy pool is not a reason to send requests elsewhere.
    wait_for("a second", || {
        (locked.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert_eq!(service.admin().get("/health/readiness").status, 200);

    drop(held);
    load.wait_for(100, 201);
    let asked = load.finish();
    for one in asked.iter().filter(|one| one.status() != 201) {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    acknowledged(&asked, &fixture.references());
    did_not_panic(&service);
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_statement_that_takes_too_long_is_cancelled_with_503() {
    let fixture = Fixture::new();
    let service = fixture
        .program()
        .set("database.statement_timeout", "200ms")
        .start();
    let held = fixture.postgres.lock_orders();
    let answer = take(service.main().address(), 1).expect("an answer");
    assert!(answer.is_unavailable(), "{answer:?}");
    drop(held);
    assert_eq!(
        take(service.main().address(), 1).expect("an answer").status,
        201
    );
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_statement_timeout_in_the_url_is_in_force_and_causes_no_warning() {
    let fixture = Fixture::new();
    let url = format!(
        "{}?options[statement_timeout]=300ms",
        fixture.postgres.url()
    );
    let service = fixture
        .program()
        .variable("DATABASE_URL", url)
        .set("database.statement_timeout", "100ms")
        .start();
    let held = fixture.postgres.lock_orders();
    let answer = take(service.main().address(), 1).expect("an answer");
    assert!(answer.is_unavailable(), "{answer:?}");
    drop(held);
    let said = service.stop().stdout;
    assert!(!said.contains("the statement timeout of"), "{said}");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_killed_redis_causes_503s_only_while_it_is_down() {
    let mut fixture = Fixture::new();
    let service = fixture.program().set("redis.pool_size", "3").start();
    let main = service.main().address();
    let max = "db_client_connection_max{db_client_connection_pool_name=\"redis\"}";
    assert_eq!(metric(&service, max), Some(3.0));
    let view = move |_| request(main, "POST", "/orders/1/views", "");
    let load = Load::start(8, view);
    load.wait_for(200, 200);

    fixture.redis.kill();
    wait_until_not_ready(&service);
    load.wait_for(20, 503);
    is_alive(&service);
    assert_eq!(
        take(main, 1).expect("an answer").status,
        201,
        "orders need no Redis"
    );

    fixture.redis.start_again();
    service.wait_until_ready();
    let back = Instant::now();
    load.wait_for(200, 200);
    no_worse_than_503(&load.finish(), 200, back);
    did_not_panic(&service);
    assert_eq!(service.stop().code, Some(0));
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_redis_restart_while_idle_does_not_fail_the_next_request() {
    let mut fixture = Fixture::new();
    // No check comes between: the connections themselves learn of it.
    let service = fixture
        .program()
        .set("health.interval", "1m")
        .set("redis.pool_size", "3")
        .start();
    let view =
        || request(service.main().address(), "POST", "/orders/1/views", "").expect("an answer");
    for _ in 0..3 {
        assert_eq!(view().status, 200);
    }
    fixture.redis.kill();
    fixture.redis.start_again();
    for _ in 0..3 {
        let answer = view();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_redis_that_rejects_the_password_for_a_while_is_used_again_once_it_accepts_it() {
    let mut fixture = Fixture::new();
    let service = fixture.program().set("redis.pool_size", "2").start();
    let main = service.main().address();
    let load = Load::start(4, move |_| request(main, "POST", "/orders/1/views", ""));
    load.wait_for(50, 200);
    fixture.redis.kill();
    fixture.redis.start_with("another");
    wait_until_not_ready(&service);
    load.wait_for(50, 503);
    wait_for("a refusal", || {
        let report = service.admin().get("/health/readiness").text().to_owned();
        report.contains("WRONGPASS").then_some(())
    });
    fixture.redis.kill();
    fixture.redis.start_again();
    service.wait_until_ready();
    let back = Instant::now();
    load.wait_for(50, 200);
    no_worse_than_503(&load.finish(), 200, back);
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_shutdown_during_queries_loses_nothing() {
    let fixture = Fixture::new();
    let service = fixture
        .program()
        .set("database.max_connections", "4")
        .start();
    let main = service.main().address();
    let load = Load::start(4, move |number| take(main, number));
    load.wait_for(100, 201);
    let held = fixture.postgres.lock_orders();
    wait_for("queries that wait", || {
        (in_state(&service, "used") == 4.0).then_some(())
    });

    service.terminate();
    wait_for("the stop", || {
        service
            .admin()
            .get("/health/readiness")
            .text()
            .contains("stopping")
            .then_some(())
    });
    wait_for("no more connections", || {
        std::net::TcpStream::connect(main).is_err().then_some(())
    });
    drop(held);

    let asked = load.finish();
    assert_eq!(service.wait().code, Some(0));
    // Requests under way got responses; later ones got no connection.
    let taken = asked.iter().filter(|one| one.answer.is_ok());
    let taken = taken.inspect(|one| assert_eq!(one.status(), 201, "{one:?}"));
    let taken = taken.count();
    let kept = fixture.references();
    acknowledged(&asked, &kept);
    assert_eq!(
        kept.len(),
        taken,
        "every stored order was confirmed to a client"
    );
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_database_that_starts_late_is_awaited_and_logged_once() {
    let mut fixture = Fixture::new();
    fixture.postgres.stop();
    let service = fixture.program().launch();
    service.wait_for_message("waiting for a dependency");
    assert_eq!(service.admin().get("/health/liveness").status, 200);
    assert_eq!(service.admin().get("/health/readiness").status, 503);
    fixture.postgres.start_again();
    service.wait_until_ready();
    let answer = take(service.main().address(), 1).expect("an answer");
    assert_eq!(answer.status, 201);
    let ended = service.stop();
    assert_eq!(
        ended.message("dependency available")["dependency"],
        "database"
    );
    let warned = ended.stdout.matches("\"waiting for a dependency\"");
    assert_eq!(warned.count(), 1, "{}", ended.stdout);
}

#[test]
#[ignore = "needs PostgreSQL, Redis and openssl"]
fn servers_with_a_trusted_certificate_are_accepted_and_others_rejected() {
    let certificates = Certificates::make();
    let (postgres, redis) = (
        Postgres::with_tls(&certificates),
        Redis::with_tls(&certificates),
    );
    let authority = certificates.authority().display().to_string();
    let plain = format!(
        "{}?sslmode=verify-full",
        postgres.url().replace("127.0.0.1", "localhost")
    );
    let trusting = format!("{plain}&sslrootcert={authority}");
    let program = program().variable("REDIS_URL", redis.url());
    let trusted = program.clone().variable("SSL_CERT_FILE", &authority);
    run(
        trusted.clone().variable("DATABASE_URL", &trusting),
        "migrate",
    );
    let service = trusted.clone().variable("DATABASE_URL", &trusting).start();
    let main = service.main().address();
    assert_eq!(take(main, 1).expect("an answer").status, 201);
    let view = request(main, "POST", "/orders/1/views", "").expect("an answer");
    assert_eq!(view.status, 200);

    for (refused, who) in [
        (trusted.variable("DATABASE_URL", &plain), "database"),
        (program.variable("DATABASE_URL", &trusting), "redis"),
    ] {
        let ended = refused.set("service.start_timeout", "1s").output();
        assert_eq!(ended.code, Some(1));
        let said = ended.message("service failed")["error"].to_string();
        assert!(said.contains(&format!("{who}: not available")), "{said}");
        assert!(
            said.contains("invalid peer certificate: UnknownIssuer"),
            "{said}"
        );
    }
}
