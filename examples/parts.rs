//! The parts one by one, in a program that keeps its own `main` and axum's own server: settings,
//! logs, the layer around every request, metrics and readiness, each an ordinary value.
//!
//! ```sh
//! cargo run --example parts
//! curl localhost:8080/
//! curl localhost:8080/metrics
//! ```

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Json, Router};
use axum_chassis::ChassisSettings;
use axum_chassis::health::Readiness;
use axum_chassis::metrics::Metrics;
use axum_chassis::request::RequestLayer;
use axum_chassis::settings::{self, Sources};
use axum_chassis::{logs, server};
use http::StatusCode;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = settings::load::<ChassisSettings, ()>(&Sources::from_env())?.chassis;
    let logs = logs::install(&settings.logs)?;
    let metrics = Metrics::new();
    let readiness = Readiness::new(settings.health);
    readiness.check("nothing", async || anyhow::Ok(()));
    readiness.set_started();

    // Routes get the layer; what is asked all the time by machines does not.
    let routes = Router::new().route("/", get("hello\n")).layer(
        RequestLayer::new(&settings.limits, &logs, &metrics)?
            .trusted_proxies(settings.server.proxies()),
    );
    let scrape = metrics.clone();
    let routes = routes
        .route("/metrics", get(async move || scrape.encode(None).1))
        .route(
            "/ready",
            get(async move || match readiness.is_ready() {
                true => (StatusCode::OK, Json("ready")),
                false => (StatusCode::SERVICE_UNAVAILABLE, Json("not ready")),
            }),
        );

    let server::Settings { host, port, .. } = settings.server;
    let listener = tokio::net::TcpListener::bind((host, port)).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    // With the addresses of clients, for the log.
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes)
        .with_graceful_shutdown(interrupted())
        .await?;
    logs.flush(std::time::Duration::from_secs(1));
    Ok(())
}

async fn interrupted() {
    // Without a handler there is nothing to wait for, and nothing to be done about it.
    let _ = tokio::signal::ctrl_c().await;
}
