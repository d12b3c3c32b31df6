//! Connections that are replaced after a migration or a failover, under load.

#![cfg(feature = "postgres")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Sources, Validate};
use axum_chassis::{Chassis, Problem, Service};
use axum_chassis_sqlx::sqlx::{self, PgPool};
use serde::{Deserialize, Serialize};
use stores::{Asked, Load, Postgres, Proxy, request, wait_for};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    database: axum_chassis_sqlx::Settings,
}

impl Validate for Settings {}

/// `SELECT *`, whose plans a new column makes useless.
async fn list(State(pool): State<PgPool>) -> Result<String, Problem> {
    let rows = sqlx::query("SELECT * FROM orders LIMIT 1")
        .fetch_all(&pool)
        .await?;
    Ok(rows.len().to_string())
}

async fn add(State(pool): State<PgPool>) -> Result<String, Problem> {
    sqlx::query("INSERT INTO orders DEFAULT VALUES")
        .execute(&pool)
        .await?;
    Ok(String::new())
}

/// Has a service run on the database while `test` runs.
fn with_service(sources: Sources, test: impl FnOnce(SocketAddr)) {
    let sources = sources
        .set("database.max_connections", "4")
        .set("health.interval", "100ms")
        .set("health.failures", "1");
    let start = async |chassis: Chassis<Settings>| {
        let pool = axum_chassis_sqlx::postgres_rotating(&chassis, "database", |all| &all.database);
        let pool = pool.await?;
        Ok(Router::new()
            .route("/", get(list))
            .route("/", post(add))
            .with_state(pool))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let running = Service::<Settings>::new("orders", "1.0.0")
            .start(sources, start)
            .await;
        let running = running.expect("the database is there");
        let main = running.address();
        tokio::task::block_in_place(|| test(main));
        assert!(running.stop().await.is_graceful());
    });
}

fn worse_than_503(asked: &[Asked]) -> Vec<&Asked> {
    let fails = |one: &&Asked| match &one.answer {
        Ok(answer) => answer.status != 200 && !answer.is_unavailable(),
        Err(_) => true,
    };
    asked.iter().filter(fails).collect()
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_new_column_costs_select_star_a_503_for_each_connection_at_most() {
    let server = Postgres::start();
    server.query("CREATE TABLE orders (id bigserial)");
    with_service(Sources::empty().set("database.url", server.url()), |main| {
        let load = Load::start(8, move |_| request(main, "GET", "/", ""));
        load.wait_for(100, 200);
        server.query("ALTER TABLE orders ADD COLUMN item text");
        load.wait_for(200, 200);
        let asked = load.finish();
        assert!(
            worse_than_503(&asked).is_empty(),
            "{:?}",
            worse_than_503(&asked)
        );
        let failed = asked.iter().filter(|one| one.status() == 503).count();
        println!("{failed} of {} failed after a new column", asked.len());
        // Those that were taken before the first of them failed.
        assert!((1..=8).contains(&failed), "{failed}");
    });
}

/// The old primary goes on, read-only, and the new one is where new connections lead.
fn fails_over(parameters: &str) {
    let primary = Postgres::start();
    primary.query("CREATE TABLE orders (id bigserial)");
    let standby = primary.standby();
    let proxy = Proxy::start(primary.address());
    let url = format!(
        "{}?sslmode=disable{parameters}",
        primary.url_through(&proxy)
    );
    with_service(Sources::empty().set("database.url", url), |main| {
        let load = Load::start(8, move |_| request(main, "POST", "/", ""));
        load.wait_for(100, 200);

        primary.turn_read_only();
        load.wait_for(8, 503);
        primary.promote(&standby);
        proxy.retarget(standby.address());
        let moved = Instant::now();
        load.wait_for(100, 200);
        let back = moved.elapsed();
        println!("written again {back:?} after the failover");
        assert!(back < Duration::from_secs(10), "{back:?}");
        let asked = load.finish();
        assert!(
            worse_than_503(&asked).is_empty(),
            "{:?}",
            worse_than_503(&asked)
        );
        let well = asked.iter().filter(|one| one.status() == 200).count();
        let kept = standby.query("SELECT count(*) FROM orders");
        assert_eq!(kept, [well.to_string()], "acknowledged and lost");
    });
}

#[test]
#[ignore = "needs PostgreSQL"]
fn after_a_failover_connections_to_the_old_primary_are_replaced() {
    fails_over("");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_check_may_require_a_writable_server() {
    fails_over("&target_session_attrs=read-write");
}

/// A new password in a mounted secret, with the old one gone from the role, under load.
#[test]
#[ignore = "needs PostgreSQL"]
fn a_new_password_is_used_without_a_restart_and_a_wrong_one_changes_nothing() {
    let server = Postgres::start();
    server.query("CREATE TABLE orders (id bigserial)");
    server.query("CREATE ROLE service LOGIN PASSWORD 'first'");
    server.query("GRANT INSERT ON orders TO service");
    server.query("GRANT USAGE ON SEQUENCE orders_id_seq TO service");
    let folder = tempfile::tempdir().expect("a folder");
    let give = |password: &str| {
        let port = server.address().port();
        let url = format!("postgres://service:{password}@127.0.0.1:{port}/postgres");
        let new = folder.path().join(".new");
        std::fs::write(&new, url).expect("a file");
        std::fs::rename(&new, folder.path().join("database-url")).expect("a file");
    };
    let sessions = "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE usename = 'service'";
    let of_before = |since: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'service' AND backend_start < '{since}'"
        );
        server.query(&sql)
    };
    give("first");
    with_service(Sources::empty().with_secrets_dir(folder.path()), |main| {
        let load = Load::start(8, move |_| request(main, "POST", "/", ""));
        load.wait_for(200, 200);

        // A slip: the pool goes on.
        give("wrong");
        load.wait_for(500, 200);

        let now = server.query("SELECT clock_timestamp()");
        server.query("ALTER ROLE service PASSWORD 'second'");
        give("second");
        let rotated = Instant::now();
        wait_for("no connection from before", || {
            (of_before(&now[0]) == ["0"]).then_some(())
        });
        println!("no connection from before after {:?}", rotated.elapsed());
        load.wait_for(200, 200);
        assert_ne!(server.query(sessions), ["0"]);
        let asked = load.finish();
        let failed: Vec<_> = asked.iter().filter(|one| one.status() != 200).collect();
        println!("{} of {} failed", failed.len(), asked.len());
        assert!(failed.is_empty(), "{:?}", failed[0]);
    });
}
