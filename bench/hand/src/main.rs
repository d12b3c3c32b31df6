//! The stack a team puts together today: tower-http, axum-prometheus, tracing-subscriber's JSON.

use std::time::Duration;

use axum::http::{HeaderName, Request, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum_prometheus::PrometheusMetricLayer;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::{Level, info, info_span};
use tracing_subscriber::EnvFilter;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let filter = std::env::var("BENCH_FILTER").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(filter))
        .init();
    if let Some(lines) = routes::lines() {
        let _request = info_span!("request", method = "GET", path = "/orders/7").entered();
        for number in 0..lines {
            info!(number, item = "teapot", pieces = 1, "order taken");
        }
        return Ok(());
    }

    let (metrics, handle) = PrometheusMetricLayer::pair();
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request<_>| {
            let id = request.headers().get(REQUEST_ID);
            let request_id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
            info_span!(
                "request",
                method = %request.method(),
                path = request.uri().path(),
                request_id,
            )
        })
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    let around = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(trace)
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(metrics)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(CatchPanicLayer::new());
    let router = routes::router()
        .layer(around)
        .route("/metrics", get(async move || handle.render()));

    let listener = TcpListener::bind(("127.0.0.1", routes::port())).await?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}
