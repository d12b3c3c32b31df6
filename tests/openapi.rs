//! The OpenAPI description of this crate's types.

use aide::axum::ApiRouter;
use aide::axum::routing::{get, post};
use aide::openapi::OpenApi;
use axum::{Json, Router};
use axum_chassis::openapi::problems;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::{ClientAddress, Problem, aide};
use serde::Deserialize;
use serde_json::Value;

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

fn document() -> Value {
    let mut document = OpenApi::default();
    let _: Router = ApiRouter::new()
        .api_route("/orders", post(take))
        .api_route("/count", get(count))
        .finish_api_with(&mut document, problems);
    serde_json::to_value(document).expect("JSON")
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
