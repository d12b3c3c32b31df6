//! PgBouncer between the service and its database, with the same settings as without.

use std::time::{Duration, Instant};

use axum_chassis_testing::Process;
use stores::{Asked, Load, PgBouncer, Postgres, Proxy, wait_for, wait_until_not_ready};

use crate::secrets::{has_no_password, shows_no_password};
use crate::servers::in_state;
use crate::{acknowledged, program, run, take};

const WARNING: &str = "the statement timeout of 200ms is not in force";

/// A database with the tables of the service.
fn migrated() -> Postgres {
    let postgres = Postgres::start();
    let direct = program().variable("DATABASE_URL", postgres.url());
    run(direct, "migrate");
    postgres
}

/// The service with so many connections to the pooler.
fn started(pooler: &PgBouncer, postgres: &Postgres, connections: u32) -> Process {
    program()
        .variable("DATABASE_URL", pooler.url(postgres))
        .set("database.max_connections", connections)
        .set("database.acquire_timeout", "1s")
        .start()
}

/// No request took longer than [`BOUND`].
fn bounded(asked: &[Asked]) {
    let slowest = asked.iter().map(|one| one.took).max().expect("requests");
    let failed = asked.iter().filter(|one| one.status() != 201).count();
    println!(
        "{failed} of {} failed, the slowest took {slowest:?}",
        asked.len()
    );
    assert!(slowest < BOUND, "{slowest:?}");
}

/// Orders are taken and found, and statements have an end or a warning.
fn works_in(mode: &str) {
    let postgres = migrated();
    let pooler = PgBouncer::start(&postgres, mode);
    let program = program()
        .variable("DATABASE_URL", pooler.url(&postgres))
        .set("database.statement_timeout", "200ms")
        // A busy machine takes long for a password.
        .set("database.acquire_timeout", "10s");

    let service = program.clone().start();
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    load.wait_for(300, 201);
    let asked = load.finish();
    let failed = asked.iter().filter(|one| one.status() != 201);
    assert_eq!(failed.count(), 0);
    acknowledged(&asked, &postgres.query("SELECT reference FROM orders"));
    shows_no_password(&service);
    let said = service.stop().stdout;
    assert!(said.contains(WARNING), "{said}");
    has_no_password("the log", &said);

    // A statement timeout of the role, as the warning recommends.
    postgres.query("ALTER ROLE orders SET statement_timeout = '200ms'");
    let pooler = PgBouncer::start(&postgres, mode);
    let service = program
        .variable("DATABASE_URL", pooler.url(&postgres))
        .start();
    let held = postgres.lock_orders();
    let answer = take(service.main().address(), 1_000_000).expect("an answer");
    assert!(answer.is_unavailable(), "{answer:?}");
    drop(held);
    let said = service.stop().stdout;
    assert!(!said.contains(WARNING), "{said}");
}

/// `acquire_timeout`, and what a busy machine takes for the rest.
const BOUND: Duration = Duration::from_secs(3);

/// The database goes silent behind the pooler, which goes on to take clients.
fn is_bounded_without_a_server_in(mode: &str) {
    let postgres = migrated();
    let proxy = Proxy::start(postgres.address());
    let pooler = PgBouncer::start_with(
        &postgres,
        proxy.port(),
        mode,
        "server_connect_timeout = 120",
    );
    let service = started(&pooler, &postgres, 4);
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    load.wait_for(50, 201);
    // Nothing is under way: what is lost in a query has no end of the pool's.
    load.finish();
    wait_for("connections to come back", || {
        (in_state(&service, "used") == 0.0).then_some(())
    });
    proxy.kill();
    let load = Load::start(8, move |number| take(main, 1_000_000 + number));
    wait_until_not_ready(&service);
    load.wait_for(24, 503);
    let asked = load.finish();
    bounded(&asked);
    for one in &asked {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
    }
    shows_no_password(&service);
    has_no_password("the log", &service.stop().stdout);
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn a_silent_database_behind_a_pooler_delays_requests_by_at_most_acquire_timeout() {
    is_bounded_without_a_server_in("session");
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn a_pooler_with_fewer_servers_than_pool_connections_delays_requests_by_at_most_acquire_timeout() {
    let postgres = migrated();
    // One for the readiness check, two for the pool.
    let small = "default_pool_size = 3";
    let pooler = PgBouncer::start_with(&postgres, postgres.address().port(), "session", small);
    let service = started(&pooler, &postgres, 8);
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    let begun = Instant::now();
    load.wait_for(200, 201);
    wait_for("some time", || (begun.elapsed() > BOUND).then_some(()));
    bounded(&load.finish());
    assert_eq!(service.admin().get("/health/readiness").status, 200);
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn pgbouncer_in_session_mode_needs_no_settings() {
    works_in("session");
}

mod nightly {
    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn pgbouncer_in_transaction_mode_needs_no_settings() {
        PgBouncer::needs_prepared_statements();
        works_in("transaction");
    }

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn in_transaction_mode_a_silent_database_delays_requests_by_at_most_acquire_timeout() {
        PgBouncer::needs_prepared_statements();
        is_bounded_without_a_server_in("transaction");
    }

    /// Queries wait longer than an answer may take, and the pooler ends those that wait for a server.
    fn is_busy_and_not_silent(settings: &str) {
        PgBouncer::needs_prepared_statements();
        let postgres = migrated();
        let settings = format!("default_pool_size = 2\n{settings}");
        let port = postgres.address().port();
        let pooler = PgBouncer::start_with(&postgres, port, "transaction", &settings);
        let service = started(&pooler, &postgres, 2);
        let main = service.main().address();
        assert_eq!(take(main, 1).expect("an answer").status, 201);

        let held = postgres.lock_orders();
        let waiting: Vec<_> = (2..4)
            .map(|number| std::thread::spawn(move || take(main, number)))
            .collect();
        wait_for("both servers to be at work", || {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            (postgres.query(sql) == ["2"]).then_some(())
        });
        let begun = Instant::now();
        wait_until_not_ready(&service);
        wait_for("several probes", || {
            (begun.elapsed() > Duration::from_secs(8)).then_some(())
        });
        drop(held);
        for one in waiting {
            let answer = one.join().expect("no panic").expect("an answer");
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        service.wait_until_ready();
        let said = service.stop().stdout;
        assert!(!said.contains("went silent"), "{said}");
    }

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn a_pooler_whose_servers_are_all_busy_is_not_silent() {
        is_busy_and_not_silent("");
    }

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn a_pooler_that_disconnects_waiting_clients_is_not_silent() {
        is_busy_and_not_silent("query_wait_timeout = 1");
    }
}
