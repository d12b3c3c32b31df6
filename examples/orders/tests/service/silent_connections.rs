//! Connections that go silent: packets are lost, and nobody closes anything.

use std::time::{Duration, Instant};

use axum_chassis_testing::Process;
use stores::{
    Asked, Certificates, Held, Load, Postgres, Proxy, Redis, request, wait_for,
    wait_until_not_ready,
};

use crate::secrets::{has_no_password, shows_no_password};
use crate::servers::{did_not_panic, in_state};
use crate::{program, run, take};

/// After this long requests are served again, whatever happened to the connections.
const BACK: Duration = Duration::from_secs(5);

const CONNECTIONS: u32 = 4;

struct Fixture {
    postgres: Postgres,
    proxy: Proxy,
    service: Process,
    _certificates: Option<Certificates>,
}

impl Fixture {
    fn start(with_tls: bool) -> Self {
        let certificates = with_tls.then(Certificates::make);
        let postgres = certificates
            .as_ref()
            .map_or_else(Postgres::start, Postgres::with_tls);
        let proxy = Proxy::start(postgres.address());
        let mode = certificates.as_ref().map_or_else(
            || "disable".to_owned(),
            |certificates| {
                format!(
                    "verify-full&sslrootcert={}",
                    certificates.authority().display()
                )
            },
        );
        let url = format!("{}?sslmode={mode}", postgres.url_through(&proxy));
        let program = program()
            .variable("DATABASE_URL", &url)
            // As it is by default.
            .set("health.interval", "5s")
            .set("database.max_connections", CONNECTIONS)
            .set("database.acquire_timeout", "2s");
        run(program.clone(), "migrate");
        Self {
            service: program.start(),
            postgres,
            proxy,
            _certificates: certificates,
        }
    }

    fn used(&self) -> f64 {
        in_state(&self.service, "used")
    }

    /// Clients, all of whose requests wait in the pool's connections, and those behind them.
    fn wait_for_answers(&self, from: usize) -> (Load, Held) {
        let main = self.service.main().address();
        let load = Load::start(12, move |number| take(main, from + number));
        load.wait_for(50, 201);
        let held = self.postgres.lock_orders();
        wait_for("a pool at work", || {
            (self.used() == f64::from(CONNECTIONS)).then_some(())
        });
        (load, held)
    }

    fn comes_to_rest(&self, load: Load) -> Vec<Asked> {
        let asked = load.finish();
        wait_for("connections to come back", || {
            (self.used() == 0.0).then_some(())
        });
        asked
    }

    fn goes_silent_during_queries(&self) {
        let (load, held) = self.wait_for_answers(0);
        self.proxy.silence();
        let silent = Instant::now();
        drop(held);
        load.wait_for(50, 201);
        let back = silent.elapsed();
        let asked = self.comes_to_rest(load);
        println!("during queries: 201 again after {back:?}");
        assert!(back < BACK, "{back:?}");
        for one in asked.iter().filter(|one| one.status() != 201) {
            let answer = one.answer.as_ref().expect("an answer");
            assert!(answer.is_unavailable(), "{answer:?}");
        }
        assert_eq!(self.service.admin().get("/health/readiness").status, 200);
    }

    fn goes_silent_between_queries(&self) {
        let (load, held) = self.wait_for_answers(1_000_000);
        drop(held);
        self.comes_to_rest(load);
        assert_eq!(in_state(&self.service, "idle"), f64::from(CONNECTIONS));
        self.proxy.silence();
        let silent = Instant::now();
        for number in 0..2 * CONNECTIONS as usize {
            let answer =
                take(self.service.main().address(), 2_000_000 + number).expect("an answer");
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let back = silent.elapsed();
        println!("between queries: twice each connection used after {back:?}");
        assert!(back < BACK, "{back:?}");
    }

    fn is_dead_for_a_while(&self) {
        let main = self.service.main().address();
        let load = Load::start(12, move |number| take(main, 3_000_000 + number));
        load.wait_for(50, 201);
        self.proxy.kill();
        wait_until_not_ready(&self.service);
        load.wait_for(8, 503);
        self.proxy.revive();
        let revived = Instant::now();
        self.service.wait_until_ready();
        load.wait_for(50, 201);
        let back = revived.elapsed();
        println!("after a dead network: 201 again after {back:?}");
        assert!(back < BACK, "{back:?}");
        self.comes_to_rest(load);
    }

    fn all(self) {
        self.goes_silent_during_queries();
        self.goes_silent_between_queries();
        self.is_dead_for_a_while();
        did_not_panic(&self.service);
        shows_no_password(&self.service);
        let ended = self.service.stop();
        assert_eq!(ended.code, Some(0));
        has_no_password("the log", &ended.stdout);
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn silent_connections_to_postgresql_cost_seconds() {
    Fixture::start(false).all();
}

#[test]
#[ignore = "needs PostgreSQL and openssl"]
fn silent_connections_to_postgresql_over_tls_cost_seconds() {
    Fixture::start(true).all();
}

/// A count of views goes on after its connections went silent, and after a network that was dead for a while.
fn redis_comes_back(redis: &Redis, certificates: Option<&Certificates>) {
    let proxy = Proxy::start(redis.address());
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = program()
        .variable(
            "DATABASE_URL",
            format!("sqlite:{}", folder.path().join("orders.db").display()),
        )
        .variable("REDIS_URL", redis.url_through(&proxy))
        .set("health.interval", "5s")
        .set("redis.pool_size", 3);
    if let Some(certificates) = certificates {
        program = program.variable(
            "SSL_CERT_FILE",
            certificates.authority().display().to_string(),
        );
    }
    run(program.clone(), "migrate");
    let service = program.start();
    let main = service.main().address();
    let load = Load::start(6, move |_| request(main, "POST", "/orders/1/views", ""));
    load.wait_for(50, 200);

    proxy.silence();
    let silent = Instant::now();
    // With the pause there are two of each: some come back before the others.
    load.wait_for(500, 200);
    let back = silent.elapsed();
    println!("Redis: 200 again after {back:?}");
    assert!(back < BACK, "{back:?}");

    proxy.kill();
    wait_until_not_ready(&service);
    proxy.revive();
    let revived = Instant::now();
    service.wait_until_ready();
    load.wait_for(50, 200);
    let back = revived.elapsed();
    println!("Redis: 200 again {back:?} after a dead network");
    assert!(back < BACK, "{back:?}");
    for one in load.finish().iter().filter(|one| one.status() != 200) {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
    }
    did_not_panic(&service);
    shows_no_password(&service);
    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    has_no_password("the log", &ended.stdout);
}

#[test]
#[ignore = "needs Redis"]
fn silent_connections_to_redis_cost_seconds() {
    redis_comes_back(&Redis::start(), None);
}

#[test]
#[ignore = "needs Redis and openssl"]
fn silent_connections_to_redis_over_tls_cost_seconds() {
    let certificates = Certificates::make();
    redis_comes_back(&Redis::with_tls(&certificates), Some(&certificates));
}

#[test]
#[ignore = "needs Redis"]
fn a_redis_outage_while_idle_fails_no_later_command() {
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("orders.db").display());
    let service = program()
        .variable("DATABASE_URL", database)
        .variable("REDIS_URL", redis.url())
        // No check comes between.
        .set("health.interval", "1m")
        .set("redis.pool_size", 3)
        .start();
    let main = service.main().address();
    redis.kill();
    // Longer than a manager tries by itself.
    std::thread::sleep(Duration::from_millis(600));
    redis.start_again();
    wait_for("connections", || (redis.clients() == 3).then_some(()));
    for _ in 0..3 {
        let answer = request(main, "POST", "/orders/1/views", "").expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
#[ignore = "needs Redis"]
fn after_a_failover_commands_go_to_the_new_master() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::start(old.address());
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("orders.db").display());
    let service = program()
        .variable("DATABASE_URL", database)
        .variable("REDIS_URL", old.url_through(&proxy))
        .set("health.interval", "1m")
        .set("redis.pool_size", 3)
        .start();
    let main = service.main().address();
    let load = Load::start(6, move |_| request(main, "POST", "/orders/1/views", ""));
    load.wait_for(50, 200);
    // It stays, and its connections do; it only takes no writes any more.
    let port = new.address().port().to_string();
    old.command(&["REPLICAOF", "127.0.0.1", &port]);
    proxy.retarget(new.address());
    let moved = Instant::now();
    load.wait_for(50, 200);
    let back = moved.elapsed();
    println!("Redis: 200 again {back:?} after a failover");
    assert!(back < BACK, "{back:?}");
    for one in load.finish().iter().filter(|one| one.status() != 200) {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
    }
}
