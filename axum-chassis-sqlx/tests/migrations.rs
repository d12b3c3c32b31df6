//! Migrations beside a service that goes on.

#![cfg(all(feature = "postgres", feature = "migrate"))]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Sources, Validate};
use axum_chassis::{Chassis, Problem, Service};
use axum_chassis_sqlx::sqlx::migrate::Migrator;
use axum_chassis_sqlx::sqlx::{self, PgPool};
use serde::{Deserialize, Serialize};
use stores::{Load, PgBouncer, Postgres, request};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    database: axum_chassis_sqlx::Settings,
}

impl Validate for Settings {}

async fn list(State(pool): State<PgPool>) -> Result<String, Problem> {
    let sql = "SELECT id FROM orders LIMIT 1";
    let rows = sqlx::query(sql).fetch_all(&pool).await?;
    Ok(rows.len().to_string())
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().expect("a runtime")
}

/// Files of these names and contents.
fn migrations(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).expect("a file");
    }
    folder
}

/// The command of a service, within its start.
async fn migrate(url: &str, files: &Path) -> anyhow::Result<()> {
    let sources = Sources::empty().set("database.url", url);
    let start = async |chassis: Chassis<Settings>| {
        let settings = &chassis.settings().database;
        let migrator = Migrator::new(files).await?;
        axum_chassis_sqlx::migrate(&chassis, "database", settings, migrator).await?;
        Ok(Router::new())
    };
    let running = Service::<Settings>::new("orders", "1.0.0")
        .start(sources, start)
        .await;
    running?.stop().await;
    Ok(())
}

/// So many at once.
fn together(number: usize, url: &str, files: &Path) {
    thread::scope(|scope| {
        let all: Vec<_> = (0..number)
            .map(|_| scope.spawn(|| runtime().block_on(migrate(url, files))))
            .collect();
        for one in all {
            one.join().expect("no panic").expect("a migration");
        }
    });
}

/// Clients ask a service while `work` is done; how long the slowest waited.
fn under_load(server: &Postgres, work: impl FnOnce(SocketAddr)) -> Duration {
    let sources = Sources::empty().set("database.url", server.url());
    let start = async |chassis: Chassis<Settings>| {
        let settings = &chassis.settings().database;
        let pool = axum_chassis_sqlx::postgres(&chassis, "database", settings).await?;
        Ok(Router::new().route("/", get(list)).with_state(pool))
    };
    let service = Service::<Settings>::new("orders", "1.0.0");
    let runtime = runtime();
    let running = runtime
        .block_on(service.start(sources, start))
        .expect("the database is there");
    let main = running.address();
    // More than there are connections.
    let load = Load::start(16, move |_| request(main, "GET", "/", ""));
    load.wait_for(100, 200);
    work(main);
    load.wait_for(100, 200);
    let asked = load.finish();
    let failed: Vec<_> = asked.iter().filter(|one| one.status() != 200).collect();
    println!("{} of {} failed", failed.len(), asked.len());
    assert!(failed.is_empty(), "{:?}", failed[0]);
    runtime.block_on(running.stop());
    asked.iter().map(|one| one.took).max().expect("requests")
}

const ORDERS: (&str, &str) = (
    "1_orders.sql",
    "CREATE TABLE orders (id bigserial PRIMARY KEY, item text); SELECT pg_sleep(0.3);",
);

fn five_at_once(server: &Postgres, url: &str) {
    let files = migrations(&[
        ORDERS,
        ("2_price.sql", "ALTER TABLE orders ADD COLUMN price int;"),
    ]);
    together(5, url, files.path());
    assert_eq!(
        server.query("SELECT count(*) FROM _sqlx_migrations WHERE success"),
        ["2"]
    );
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    stores::wait_for("no lock", || (server.query(locks) == ["0"]).then_some(()));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn five_concurrent_migrations_are_applied_once() {
    let server = Postgres::start();
    five_at_once(&server, &server.url());
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn five_concurrent_migrations_through_a_pooler_are_applied_once() {
    let server = Postgres::start();
    let pooler = PgBouncer::start(&server, "session");
    five_at_once(&server, &pooler.url(&server));
}

mod nightly {
    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn five_concurrent_migrations_through_a_pooler_in_transaction_mode_are_applied_once() {
        PgBouncer::needs_prepared_statements();
        let server = Postgres::start();
        let pooler = PgBouncer::start(&server, "transaction");
        five_at_once(&server, &pooler.url(&server));
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_new_column_waits_for_a_long_read_and_no_request_fails() {
    let server = Postgres::start();
    let first = migrations(&[ORDERS]);
    runtime()
        .block_on(migrate(&server.url(), first.path()))
        .expect("a migration");
    let files = migrations(&[
        ORDERS,
        ("2_price.sql", "ALTER TABLE orders ADD COLUMN price int;"),
    ]);
    // The role's own is not that of migrations.
    server.query("ALTER ROLE orders SET statement_timeout = '1s'");
    let slowest = under_load(&server, |_| {
        let read = server.read_orders();
        let begun = Instant::now();
        let url = server.url();
        let migration = thread::spawn(move || runtime().block_on(migrate(&url, files.path())));
        stores::wait_for("a second try", || {
            (begun.elapsed() > Duration::from_secs(4)).then_some(())
        });
        drop(read);
        migration.join().expect("no panic").expect("a migration");
    });
    println!("the slowest request took {slowest:?}");
}

const INDEX: (&str, &str) = (
    "2_index.sql",
    "-- no-transaction\nCREATE INDEX CONCURRENTLY orders_item ON orders (item);",
);

#[test]
#[ignore = "needs PostgreSQL"]
fn an_index_is_built_beside_requests_and_other_migrations() {
    let server = Postgres::start();
    let first = migrations(&[ORDERS]);
    runtime()
        .block_on(migrate(&server.url(), first.path()))
        .expect("a migration");
    server.query("INSERT INTO orders (item) SELECT 'tea' || i FROM generate_series(1, 200000) i");
    let files = migrations(&[ORDERS, INDEX]);
    under_load(&server, |_| {
        together(3, &server.url(), files.path());
    });
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_item'::regclass";
    assert_eq!(server.query(valid), ["t"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn an_index_that_failed_is_dropped_and_built_again() {
    let server = Postgres::start();
    let first = migrations(&[ORDERS]);
    let migrate = |files: &TempDir| runtime().block_on(migrate(&server.url(), files.path()));
    migrate(&first).expect("a migration");
    server.query("INSERT INTO orders (item) VALUES ('tea'), ('tea')");
    let unique = INDEX.1.replace("INDEX C", "UNIQUE INDEX C");
    let files = migrations(&[ORDERS, (INDEX.0, &unique)]);
    let error = migrate(&files).expect_err("a duplicate");
    let error = format!("{error:#}");
    let told = "migration 2: could not create unique index \"orders_item\"";
    assert!(error.ends_with(told), "{error}");
    server.query("DELETE FROM orders WHERE id = 1");
    // Not passed over in silence.
    let error = migrate(&files).expect_err("the index of before");
    assert!(format!("{error:#}").contains("already exists"), "{error:#}");
    // The migration succeeds again after the steps that the warning names.
    server.query("DROP INDEX CONCURRENTLY orders_item");
    migrate(&files).expect("a migration");
}
