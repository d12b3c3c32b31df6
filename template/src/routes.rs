//! The router, and the route `/`.

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
use serde::Serialize;

#[cfg(feature = "openapi")]
pub(crate) fn router() -> ApiRouter {
    ApiRouter::new().api_route(
        "/",
        get_with(greet, |route| route.summary("Name and version")),
    )
}

#[cfg(not(feature = "openapi"))]
pub(crate) fn router() -> Router {
    Router::new().route("/", get(greet))
}

/// The name and version of the service.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
struct Greeting {
    service: &'static str,
    version: &'static str,
}

async fn greet() -> Json<Greeting> {
    Json(Greeting {
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_front_page_returns_name_and_version() {
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let response = router().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);

        let body = response.into_body().collect().await.expect("a body");
        let greeting: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
        assert_eq!(greeting["service"], env!("CARGO_PKG_NAME"));
    }
}
