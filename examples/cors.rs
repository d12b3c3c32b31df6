//! CORS headers on every response of a service, including the chassis's own responses.
//!
//! ```sh
//! cargo run --example cors
//! curl --include --header 'origin: https://shop.example' localhost:8080/slow     # a 504, with its headers
//! ```
//!
//! A layer of the router would be inside the chassis's own layer, so a 504 of the chassis would have no CORS headers. A
//! browser would then report a CORS error to its page, instead of the 504.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_chassis::Service;
use http::{HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

fn main() -> ExitCode {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://shop.example"))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER]);
    Service::<()>::new("cors", env!("CARGO_PKG_VERSION"))
        .outer_layer(cors)
        .run(async |_| {
            let slow = async || tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok(Router::new()
                .route("/", get("hello"))
                .route("/slow", get(slow)))
        })
}
