//! A database in memory, of one process.

#![cfg(feature = "sqlite")]

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Sources, Validate};
use axum_chassis::{Chassis, Problem, Service};
use axum_chassis_sqlx::sqlx::{self, SqlitePool};
use serde::{Deserialize, Serialize};
use stores::{Load, request};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    database: axum_chassis_sqlx::Settings,
}

impl Validate for Settings {}

async fn add(State(pool): State<SqlitePool>) -> Result<String, Problem> {
    sqlx::query("INSERT INTO orders DEFAULT VALUES")
        .execute(&pool)
        .await?;
    Ok(String::new())
}

async fn count(State(pool): State<SqlitePool>) -> Result<String, Problem> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&pool)
        .await?;
    Ok(count.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_at_once_do_not_fail() {
    let sources = Sources::empty()
        .set("database.url", "sqlite::memory:")
        .set("health.interval", "10ms")
        .set("health.failures", "1");
    let start = async |chassis: Chassis<Settings>| {
        let settings = &chassis.settings().database;
        let pool = axum_chassis_sqlx::sqlite(&chassis, "database", settings).await?;
        sqlx::query("CREATE TABLE orders (id integer PRIMARY KEY)")
            .execute(&pool)
            .await?;
        Ok(Router::new()
            .route("/", get(count))
            .route("/", post(add))
            .with_state(pool))
    };
    let running = Service::<Settings>::new("orders", "1.0.0")
        .start(sources, start)
        .await;
    let running = running.expect("a start");
    let main = running.address();
    let asked = tokio::task::block_in_place(|| {
        let loads =
            ["POST", "GET"].map(|method| Load::start(4, move |_| request(main, method, "/", "")));
        loads.iter().for_each(|load| load.wait_for(100, 200));
        loads.map(Load::finish)
    });
    let failed: Vec<_> = asked
        .iter()
        .flatten()
        .filter(|one| one.status() != 200)
        .collect();
    assert!(
        failed.is_empty(),
        "{} of them: {:?}",
        failed.len(),
        failed[0]
    );
    let ready =
        tokio::task::block_in_place(|| request(running.admin(), "GET", "/health/readiness", ""));
    assert_eq!(ready.expect("an answer").status, 200);
    running.stop().await;
}
