//! Routes with limits of their own: an upload that takes minutes, a report that only one client can create at a time,
//! and long polling without access lines.
//!
//! ```sh
//! cargo run --example route_policies
//! head --bytes 100M /dev/zero | curl --data-binary @- localhost:8080/files    # larger than limits.body
//! curl localhost:8080/report & curl localhost:8080/report                     # one of them gets a 503
//! curl localhost:8080/poll                                                    # takes longer than limits.request_timeout
//! ```

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum_chassis::{Chassis, Problem, RoutePolicy, Service};
use http_body_util::BodyExt;

fn main() -> ExitCode {
    Service::<()>::new("route_policies", env!("CARGO_PKG_VERSION")).run(start)
}

pub(crate) async fn start(chassis: Chassis<()>) -> anyhow::Result<Router> {
    // Longer than requests to other routes can take.
    let long = *chassis.chassis_settings().limits.request_timeout + Duration::from_secs(1);
    let report = async move || {
        tokio::time::sleep(long).await;
        "the report"
    };
    let poll = async move || {
        tokio::time::sleep(long).await;
        "news"
    };
    let minutes = Duration::from_secs(600);
    Ok(Router::new()
        .route(
            "/files",
            post(upload)
                .layer(DefaultBodyLimit::disable())
                .layer(RoutePolicy::new().timeout(minutes)),
        )
        .route(
            "/report",
            get(report).layer(RoutePolicy::new().timeout(minutes).concurrency(1)),
        )
        .route(
            "/poll",
            get(poll).layer(RoutePolicy::new().no_timeout().unlogged()),
        ))
}

/// Reads the body piece by piece, so that it is never in memory as a whole.
async fn upload(mut body: Body) -> Result<String, Problem> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len());
    }
    Ok(format!("{bytes} bytes"))
}
