//! The routes that every program of the benchmark serves, and its environment variables.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// A large response. It is created when it is requested, so that it is not part of the start and of the idle memory.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 1_000_000].into());

#[derive(Deserialize, Serialize)]
struct Order {
    id: u64,
    item: String,
    pieces: u32,
}

/// One order to read, one to write, large bodies, log lines, a status on demand, and as many more routes as asked for.
pub fn router() -> Router {
    let router = Router::new()
        .route("/", get("hello"))
        .route("/orders", axum::routing::post(write))
        .route("/orders/{id}", get(read))
        .route("/large", get(async || LARGE.clone()).post(count))
        .route("/lines", get(log))
        .route("/status/{code}/a", get(status).post(status))
        .route("/status/{code}/b", get(status).post(status))
        .route("/status/{code}/c", get(status).post(status))
        .route("/status/{code}/d", get(status).post(status));
    (0..extra_routes()).fold(router, |router, number| {
        router.route(&format!("/extra/{number}/{{id}}"), get(read))
    })
}

/// The port to listen on.
pub fn port() -> u16 {
    number("PORT").unwrap_or(8080)
}

/// The number of lines to log instead of serving, to measure the cost of a line without a request.
pub fn lines() -> Option<u64> {
    number("BENCH_LINES")
}

fn extra_routes() -> u32 {
    number("BENCH_ROUTES").unwrap_or(0)
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

async fn read(Path(id): Path<u64>) -> Json<Order> {
    let item = "teapot".to_owned();
    Json(Order {
        id,
        item,
        pieces: 1,
    })
}

async fn write(Json(order): Json<Order>) -> (StatusCode, Json<Order>) {
    (StatusCode::CREATED, Json(order))
}

/// Reads a body. Returns its length.
async fn count(body: Bytes) -> String {
    body.len().to_string()
}

/// Logs 100 lines at the level `debug`.
async fn log() {
    for number in 0..100 {
        debug!(number, item = "teapot", pieces = 1, "order taken");
    }
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}
