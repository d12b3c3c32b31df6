//! Connections to SQLite whose thread, sqlx's worker, has ended.

#![cfg(feature = "sqlite")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Sources, Validate};
use axum_chassis::{Chassis, Problem, Service};
use axum_chassis_sqlx::sqlx::{self, Connection, Sqlite, SqlitePool, Transaction};
use serde::{Deserialize, Serialize};
use stores::{Answer, request};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    database: axum_chassis_sqlx::Settings,
}

impl Validate for Settings {}

async fn add(State(pool): State<SqlitePool>) -> Result<String, Problem> {
    let sql = "INSERT INTO orders DEFAULT VALUES RETURNING id";
    let id: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await?;
    Ok(id.to_string())
}

/// Takes long enough for what follows to be sent meanwhile.
const SLOW: &str = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
                    WHERE n < 200000) SELECT count(*) FROM numbers";

/// Sends a statement and gives it up, as when the client goes away.
async fn abandon<T>(statement: impl Future<Output = sqlx::Result<T>>) {
    tokio::select! {
        biased;
        _ = statement => panic!("an answer before the statement was abandoned"),
        () = std::future::ready(()) => {}
    }
}

/// A transaction within another that is abandoned before it has begun: sqlx's worker ends, since nobody
/// takes its answer.
async fn crash(pool: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    let mut transaction = pool.begin().await?;
    abandon(sqlx::query(SLOW).execute(&mut *transaction)).await;
    abandon(transaction.begin_with("BEGIN IMMEDIATE")).await;
    Ok(transaction)
}

/// Uses the connection until the worker is gone.
async fn use_crashed(State(pool): State<SqlitePool>) -> Result<String, Problem> {
    let mut transaction = crash(&pool).await?;
    loop {
        let query = sqlx::query("SELECT 1").execute(&mut *transaction);
        // A query that was sent before the worker's end gets no answer.
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(50), query).await {
            answer?;
        }
    }
}

async fn leave_crashed(State(pool): State<SqlitePool>) -> Result<String, Problem> {
    drop(crash(&pool).await?);
    Ok(String::new())
}

/// Each of two connections, in turn.
async fn is_replaced(url: &str) {
    let sources = Sources::empty()
        .set("database.url", url)
        .set("database.max_connections", "2");
    let start = async |chassis: Chassis<Settings>| {
        let settings = &chassis.settings().database;
        let pool = axum_chassis_sqlx::sqlite(&chassis, "database", settings).await?;
        sqlx::query("CREATE TABLE orders (id integer PRIMARY KEY)")
            .execute(&pool)
            .await?;
        Ok(Router::new()
            .route("/", post(add))
            .route("/use-crashed", post(use_crashed))
            .route("/leave-crashed", post(leave_crashed))
            .with_state(pool))
    };
    let running = Service::<Settings>::new("orders", "1.0.0")
        .start(sources, start)
        .await;
    let running = running.expect("a start");
    let main = running.address();
    tokio::task::block_in_place(|| {
        for number in 1..=2 {
            let crashed = ask(main, "/use-crashed");
            assert!(crashed.is_unavailable(), "{crashed:?}");
            assert_eq!(ask(main, "/leave-crashed").status, 200);
            let added = ask(main, "/");
            assert_eq!((added.status, &*added.body), (200, &*number.to_string()));
        }
    });
    assert!(running.stop().await.is_graceful());
}

fn ask(main: SocketAddr, path: &str) -> Answer {
    request(main, "POST", path, "").expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_file_whose_worker_has_crashed_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    is_replaced(&format!(
        "sqlite:{}",
        folder.path().join("orders.db").display()
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_database_in_memory_is_replaced_and_keeps_its_rows() {
    is_replaced("sqlite::memory:").await;
}
