//! Requests with and without a valid token.

use axum_chassis_auth::testing::Issuer;
use axum_chassis_testing::Program;
use serde_json::json;

use crate::program;

const AUDIENCE: &str = env!("CARGO_PKG_NAME");

/// The program with an issuer for tests, and with a valid token in each request.
pub(crate) fn with_token(mut program: Program) -> Program {
    let issuer = Issuer::start();
    for (key, value) in issuer.settings("auth", AUDIENCE) {
        program = program.set(&key, value);
    }
    let token = issuer.token(AUDIENCE).subject("alice").scope("read write");
    let header = format!("Bearer {}", token.sign());
    program.header("authorization", header).keep(issuer)
}

#[test]
fn a_valid_token_is_accepted_and_names_the_caller() {
    let service = program().start();
    let caller = service.get("/caller");
    assert_eq!(caller.status, 200);
    assert_eq!(
        caller.json(),
        json!({ "subject": "alice", "scopes": ["read", "write"] })
    );
}

#[test]
fn requests_without_a_valid_token_are_rejected() {
    let service = program().start();
    let stranger = Issuer::start().token(AUDIENCE).sign();
    for header in ["", &format!("Bearer {stranger}")] {
        for path in ["/", "/caller"] {
            let rejected = service.request("GET", path, &[("authorization", header)], "");
            assert_eq!(rejected.status, 401, "{path} {header}");
            let challenge = rejected.header("www-authenticate");
            assert!(challenge.is_some_and(|text| text.starts_with("Bearer")));
        }
        let health = "/health/liveness";
        let open = service.request("GET", health, &[("authorization", header)], "");
        assert_eq!(open.status, 200);
    }
}

#[cfg(feature = "openapi")]
#[test]
fn the_document_states_that_routes_need_a_token() {
    let document = program().start().get("/openapi.json").json();
    let required = json!([{ "bearer": [] }]);
    assert_eq!(document["paths"]["/"]["get"]["security"], required);
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
}
