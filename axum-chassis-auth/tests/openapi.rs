//! The OpenAPI document of a service with protected and public routes.

#![allow(clippy::unwrap_used)]

use axum::body::Body;
use axum_chassis::TestChassis;
use axum_chassis::openapi::routing::{get, post};
use axum_chassis::openapi::{ApiRouter, Document};
use axum_chassis_auth::testing::Issuer;
use axum_chassis_auth::{Auth, Caller, Settings, openapi};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

async fn caller(Caller(caller): Caller) -> String {
    caller.subject
}

async fn text() -> &'static str {
    "text"
}

async fn auth(issuer: &Issuer, required_scopes: &[&str]) -> (TestChassis<()>, Auth) {
    let mut settings = Settings::default();
    settings.issuer = issuer.url();
    settings.audience = vec!["orders".to_owned()];
    settings.allow_http_loopback = true;
    settings.required_scopes = required_scopes.iter().map(|s| (*s).to_owned()).collect();
    let test = TestChassis::new(());
    let auth = axum_chassis_auth::auth(&test.chassis(), "auth", &settings).await;
    (test, auth.unwrap())
}

fn described(auth: &Auth) -> (axum::Router, Value) {
    let write = ApiRouter::new().api_route("/orders", post(text));
    let protected = ApiRouter::new()
        .api_route("/orders", get(text))
        .merge(auth.require("orders:write").protect(write));
    let routes = auth.layer().protect(protected);
    let routes = routes.api_route("/prices", get(text));
    // Two layers that the document does not know; the handler of one of them extracts the caller.
    let others = ApiRouter::new()
        .api_route("/me", get(caller))
        .api_route("/others", get(text))
        .route_layer(auth.layer());
    openapi::with_security_scheme(Document::new("orders", "1.0.0")).describe(routes.merge(others))
}

#[tokio::test]
async fn protected_routes_have_a_security_requirement_with_their_scopes() {
    let issuer = Issuer::start();
    for (of_all, read, write) in [
        (&[][..], json!([]), json!(["orders:write"])),
        (
            &["orders:use"],
            json!(["orders:use"]),
            json!(["orders:use", "orders:write"]),
        ),
    ] {
        let (_test, auth) = auth(&issuer, of_all).await;
        let (_, document) = described(&auth);
        let expected = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
        assert_eq!(
            document["components"]["securitySchemes"]["bearer"],
            expected
        );
        let paths = &document["paths"];
        assert_eq!(
            paths["/orders"]["get"]["security"],
            json!([{ "bearer": read }])
        );
        assert_eq!(
            paths["/orders"]["post"]["security"],
            json!([{ "bearer": write }])
        );
        assert_eq!(paths["/me"]["get"]["security"], json!([{ "bearer": [] }]));
        assert_eq!(paths["/prices"]["get"].get("security"), None);
        assert!(paths["/prices"]["get"]["responses"]["default"].is_object());
    }
}

#[tokio::test]
async fn protected_routes_are_protected() {
    let issuer = Issuer::start();
    let (_test, auth) = auth(&issuer, &[]).await;
    let (router, _) = described(&auth);
    let read = issuer.token("orders").sign();
    let write = issuer.token("orders").scope("orders:write").sign();
    for (method, path, token, status) in [
        ("GET", "/prices", "", 200),
        ("GET", "/orders", "", 401),
        ("POST", "/orders", "", 401),
        ("GET", "/me", "", 401),
        ("GET", "/unknown", "", 404),
        ("GET", "/orders", &*read, 200),
        ("GET", "/me", &read, 200),
        ("POST", "/orders", &read, 403),
        ("POST", "/orders", &write, 200),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
    }
}
