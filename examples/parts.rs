//! A program that keeps its own `main`. It serves its router with the chassis's listener and with all of the chassis's
//! other parts, including the admin port.
//!
//! ```sh
//! cargo run --example parts
//! curl localhost:8080/
//! curl localhost:9090/metrics
//! ```

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_chassis::settings::{self, Sources};
use axum_chassis::{ChassisSettings, Server, logs};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let settings = settings::load::<ChassisSettings, ()>(&Sources::from_env())?;
    let logs = logs::install(&settings.framework.logs)?;

    let server = Server::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .settings(settings.framework)
        .effective(settings.effective)
        .logs(&logs)
        .admin()
        .bind()?;
    let chassis = server.chassis();
    chassis.readiness().check("store", async || anyhow::Ok(()));
    chassis.on_stop("store", async || Ok(()));

    // The health routes are added after the layer: proxies request them all the time, so they should not be logged.
    let routes = Router::new()
        .route("/", get("hello\n"))
        .layer(server.request_layer())
        .merge(server.health_routes());
    let stopped = server.serve(routes).await?;
    logs.flush(Duration::from_secs(1));
    Ok(stopped.exit_code())
}
