//! The OpenAPI document of the routes, at `/openapi.json`, and a page to try them, at `/docs`.

use axum::body::Bytes;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use axum_chassis::aide::axum::ApiRouter;
use axum_chassis::aide::openapi::{Info, OpenApi};
use axum_chassis::aide::swagger::Swagger;
use axum_chassis::openapi::problems;

/// The page contains its scripts and styles, and loads nothing from other hosts.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
                      script-src 'unsafe-inline'; style-src 'unsafe-inline'";

/// The routes, including those of the document and the page.
pub(crate) fn described(routes: ApiRouter) -> Router {
    let mut document = OpenApi {
        info: Info {
            title: env!("CARGO_PKG_NAME").to_owned(),
            description: Some(env!("CARGO_PKG_DESCRIPTION").to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    // Every error response is a problem, including those before a handler runs or after it panics.
    let routes = routes.finish_api_with(&mut document, problems);
    let page = Swagger::new("openapi.json")
        .with_title(env!("CARGO_PKG_NAME"))
        .html();
    let page = Bytes::from(page);
    routes
        .route("/openapi.json", get(async move || Json(document)))
        .route(
            "/docs",
            get(async move || ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page))),
        )
}
