//! The service behind the proxies: a test of this file, run as a program of its own.

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use axum_chassis::{ClientAddress, Service};
use axum_chassis_testing::{Process, Program};
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::{Interval, interval};

/// The largest body that the service accepts.
const BODY_LIMIT: &str = "16KiB";

/// Starts the service on a port that it can take again after a restart.
pub(crate) fn start(port: u16, settings: &[(&str, &str)]) -> Process {
    let program = Program::new(std::env::current_exe().expect("this test"))
        .arguments([
            "--exact",
            "service::program",
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .set("server.port", port)
        .set("server.trusted_proxies", "127.0.0.1")
        .set("limits.body", BODY_LIMIT);
    let program = settings
        .iter()
        .fold(program, |program, (key, value)| program.set(key, value));
    program.start()
}

/// A free port below the range from which the system picks ports for outgoing connections: one of those would otherwise
/// take the port of a service that restarts.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 180).expect("small") * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    let service = Service::<()>::new("orders", "1.4.0");
    let code = service.arguments([""; 0]).run(async |_| Ok(routes()));
    // Past the test harness, which would print more.
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || std::process::id().to_string()))
        .route("/echo", post(async |body: Bytes| body))
        .route("/json", post(async |Json(value): Json<Value>| Json(value)))
        .route("/private", post(async || StatusCode::UNAUTHORIZED))
        .route("/slow/{ms}", any(slow))
        .route("/client", get(client))
        .route("/events", get(events))
        .route("/socket", any(socket))
}

async fn slow(Path(ms): Path<u64>, body: Bytes) -> Bytes {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    body
}

async fn client(ClientAddress(client): ClientAddress) -> Json<Value> {
    Json(serde_json::json!({ "client": client.to_string() }))
}

async fn socket(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

async fn events() -> impl axum::response::IntoResponse {
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (
        kind,
        Body::new(Events(interval(Duration::from_millis(100)))),
    )
}

/// Server-sent events without an end.
struct Events(Interval);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        ready!(self.0.poll_tick(context));
        let event = Bytes::from_static(b"data: shipped\n\n");
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
