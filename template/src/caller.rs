//! A route that uses the token of a request: it returns the caller.

#[cfg(feature = "openapi")]
use axum::Json;
#[cfg(not(feature = "openapi"))]
use axum::routing::get;
#[cfg(not(feature = "openapi"))]
use axum::{Json, Router};
#[cfg(feature = "openapi")]
use axum_chassis::openapi::ApiRouter;
#[cfg(feature = "openapi")]
use axum_chassis::openapi::routing::get_with;
#[cfg(feature = "openapi")]
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis_auth::Caller;
use serde::Serialize;

#[cfg(feature = "openapi")]
pub(crate) fn router() -> ApiRouter {
    ApiRouter::new().api_route(
        "/caller",
        get_with(show, |route| route.summary("The caller of the request")),
    )
}

#[cfg(not(feature = "openapi"))]
pub(crate) fn router() -> Router {
    Router::new().route("/caller", get(show))
}

/// The user, or the client, whose token the request has.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
struct Identity {
    subject: String,
    scopes: Vec<String>,
}

async fn show(Caller(caller): Caller) -> Json<Identity> {
    Json(Identity {
        scopes: caller.scopes().map(str::to_owned).collect(),
        subject: caller.subject,
    })
}
