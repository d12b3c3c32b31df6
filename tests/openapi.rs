//! The OpenAPI description of this crate's types.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum_chassis::openapi::routing::{get, post};
use axum_chassis::openapi::{ApiRouter, Document};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::{ClientAddress, Problem};
use http::Request;
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt;

#[derive(Deserialize, JsonSchema)]
struct Order {
    #[allow(dead_code)]
    item: String,
}

async fn take(_: ClientAddress, Json(_): Json<Order>) -> Result<Json<u64>, Problem> {
    Ok(Json(1))
}

async fn count() -> Json<u64> {
    Json(1)
}

fn routes() -> ApiRouter {
    ApiRouter::new()
        .api_route("/orders", post(take))
        .api_route("/count", get(count))
}

fn document() -> Value {
    Document::new("orders", "1.2.3").describe(routes()).1
}

#[tokio::test]
async fn the_document_and_its_page_are_routes() {
    let document = Document::new("orders", "1.2.3").description("Takes orders.");
    let router = document.serve(routes());
    let fetch = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let policy = response.headers().get("content-security-policy").cloned();
        let body = to_bytes(response.into_body(), 1 << 22)
            .await
            .expect("a body");
        (String::from_utf8_lossy(&body).into_owned(), policy)
    };
    let (document, _) = fetch("/openapi.json").await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(
        document["info"],
        serde_json::json!({ "title": "orders", "version": "1.2.3", "description": "Takes orders." })
    );
    assert!(document["paths"]["/count"].is_object(), "{document}");
    let (page, policy) = fetch("/docs").await;
    assert!(page.contains("openapi.json") && policy.is_some());
    assert_eq!(fetch("/count").await.0, "1");
}

#[test]
fn a_problem_is_the_default_response_in_its_own_media_type() {
    let document = document();
    for (path, method) in [("/orders", "post"), ("/count", "get")] {
        let responses = &document["paths"][path][method]["responses"];
        assert!(responses["200"].is_object(), "{responses}");
        let content = &responses["default"]["content"];
        assert_eq!(
            content["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem",
            "{content}"
        );
    }
    let problem = &document["components"]["schemas"]["Problem"];
    assert_eq!(
        problem["required"],
        serde_json::json!(["type", "title", "status"])
    );
}

#[test]
fn a_rejection_of_an_extractor_is_a_problem_too() {
    let responses = &document()["paths"]["/orders"]["post"]["responses"];
    for status in ["400", "415", "422"] {
        let content = responses[status]["content"].as_object().expect(status);
        let kinds: Vec<_> = content.keys().collect();
        assert_eq!(kinds, ["application/problem+json"], "{responses}");
    }
}

#[test]
fn the_clients_address_is_not_a_parameter() {
    let operation = &document()["paths"]["/orders"]["post"];
    assert!(operation["requestBody"].is_object(), "{operation}");
    assert!(operation["parameters"].is_null(), "{operation}");
}
