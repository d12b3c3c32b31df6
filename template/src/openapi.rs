//! The OpenAPI document of the routes, at `/openapi.json`, and a page to try them, at `/docs`.

use axum::Router;
use axum_chassis::openapi::{ApiRouter, Document};
#[cfg(feature = "auth")]
use axum_chassis_auth::openapi::with_security_scheme;

/// The routes, including the routes of the document and of the page. To publish neither of these two, use `describe` in
/// place of `serve`.
pub(crate) fn described(routes: ApiRouter) -> Router {
    let document = Document::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .description(env!("CARGO_PKG_DESCRIPTION"));
    #[cfg(feature = "auth")]
    let document = with_security_scheme(document);
    document.serve(routes)
}
