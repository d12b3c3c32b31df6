//! The router, and the route `/`.

{% if openapi == "yes" -%}
use axum::Json;
use axum_chassis::openapi::ApiRouter;
use axum_chassis::openapi::routing::get_with;
use axum_chassis::schemars::{self, JsonSchema};
{%- else -%}
use axum::routing::get;
use axum::{Json, Router};
{%- endif %}
use serde::Serialize;

{% if openapi == "yes" -%}
pub(crate) fn router() -> ApiRouter {
    ApiRouter::new().api_route(
        "/",
        get_with(greet, |route| route.summary("Name and version")),
    )
}
{%- else -%}
pub(crate) fn router() -> Router {
    Router::new().route("/", get(greet))
}
{%- endif %}

/// The name and version of the service.
#[derive({% if openapi == "yes" %}JsonSchema, {% endif %}Serialize)]
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
