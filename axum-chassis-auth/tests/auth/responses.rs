//! Responses to requests without a token, without a scope, and outside of the layers.

use axum_chassis_auth::testing::Issuer;

use crate::program::{checks, get_with, service};

#[test]
fn a_request_without_a_bearer_token_is_a_401_without_an_error_code() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    let token = issuer.token("orders").sign();
    let (basic, dpop) = ("Basic YTpi".to_owned(), format!("DPoP {token}"));
    for (path, headers) in [
        ("/", vec![]),
        ("/", vec![("authorization", basic.as_str())]),
        ("/", vec![("authorization", &dpop)]),
        ("/", vec![("x-authorization", &token)]),
        (&*format!("/?access_token={token}"), vec![]),
    ] {
        let response = service.request("GET", path, &headers, "");
        assert_eq!(response.status, 401, "{headers:?}");
        assert_eq!(
            response.header("www-authenticate"),
            Some(r#"Bearer realm="api""#)
        );
        assert_eq!(response.json()["title"], "Unauthorized");
    }
    assert_eq!(checks(&service, "no_token"), 5.0);
    let line = service.wait_for_line(|line| line["status"] == 401);
    assert_eq!(line["auth"], "no_token");
}

#[test]
fn two_tokens_in_one_request_are_a_400() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    let token = format!("Bearer {}", issuer.token("orders").sign());
    let headers = [("authorization", &*token), ("authorization", &*token)];
    let response = raw(&service, &headers);
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("error=\"invalid_request\""), "{response}");
}

/// Sends the headers as they are.
fn raw(service: &axum_chassis_testing::Process, headers: &[(&str, &str)]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(service.main().address()).unwrap();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request =
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_token_without_the_scope_is_a_403_that_names_the_scope() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    for (path, scope, status) in [
        ("/write", "orders:write", 200),
        ("/write", "orders:read orders:write", 200),
        ("/write", "orders:read", 403),
        ("/write", "orders:writes", 403),
        ("/write", "", 403),
        ("/admin", "admin", 200),
        ("/admin", "orders:write", 403),
    ] {
        let token = issuer.token("orders").scope(scope).sign();
        let response = get_with(&service, path, &token);
        assert_eq!(response.status, status, "{path} {scope}");
        let challenge = response.header("www-authenticate");
        match path {
            _ if status == 200 => assert_eq!(challenge, None),
            "/write" => assert_eq!(
                challenge,
                Some(
                    "Bearer error=\"insufficient_scope\", error_description=\"the token does not have the \
                     required scope\", scope=\"orders:write\""
                )
            ),
            _ => assert!(challenge.unwrap().ends_with(", scope=\"admin\"")),
        }
    }
    let line = service.wait_for_line(|line| line["status"] == 403);
    assert_eq!(
        (&line["auth"], &line["sub"]),
        (&"scope".into(), &"somebody".into())
    );
    // Two layers around `/write`, and each token was checked once.
    assert_eq!(
        (checks(&service, "accepted"), checks(&service, "scope")),
        (7.0, 4.0)
    );
}

#[test]
fn scopes_in_the_settings_are_required_everywhere() {
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.required_scopes", "orders:use")
        .start();
    let token = |scope| issuer.token("orders").scope(scope).sign();
    assert_eq!(get_with(&service, "/", &token("orders:use")).status, 200);
    assert_eq!(get_with(&service, "/", &token("orders:write")).status, 403);
    let both = get_with(&service, "/admin", &token("admin"));
    let challenge = both.header("www-authenticate").unwrap();
    assert!(
        challenge.ends_with("scope=\"orders:use admin\""),
        "{challenge}"
    );
}

#[test]
fn the_access_line_has_the_claim_of_the_settings() {
    let issuer = Issuer::start();
    let long = "é".repeat(300);
    for (setting, claim, expected) in [
        ("client_id", "a-client", Some("a-client")),
        ("https://example.com/id", "7", Some("7")),
        ("status", "gold", None),
        ("email", &long, Some(&long[..400])),
        ("", "", None),
    ] {
        let service = service(&issuer).set("auth.log_claim", setting).start();
        let token = issuer.token("orders").claim(setting, claim).sign();
        assert_eq!(get_with(&service, "/", &token).status, 200, "{setting}");
        let line = service.wait_for_line(|line| line["status"] == 200);
        assert_eq!(line.get("sub"), None, "{line}");
        match setting {
            // The chassis's own field stays.
            "status" => assert_eq!(line["field.status"], claim),
            _ => assert_eq!(line.get(setting).and_then(|value| value.as_str()), expected),
        }
    }
}

#[test]
fn a_claim_that_is_missing_or_a_list_is_not_in_the_access_line() {
    let issuer = Issuer::start();
    let service = service(&issuer).set("auth.log_claim", "groups").start();
    let token = issuer.token("orders");
    let tokens = [
        token.clone(),
        token.clone().claim("groups", vec!["a", "b"]),
        token.claim("groups", 7),
    ];
    for token in tokens {
        assert_eq!(get_with(&service, "/", &token.sign()).status, 200);
    }
    let line = service.wait_for_line(|line| line["groups"] == "7");
    assert_eq!(line["status"], 200);
    let lines = service.log();
    let with_claim = lines.iter().filter(|line| line.get("groups").is_some());
    assert_eq!(with_claim.count(), 1, "{lines:?}");
}

#[test]
fn a_token_without_the_claims_of_the_handler_is_a_403() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    let token = issuer.token("orders");
    let sales = token.clone().claim("department", "sales").sign();
    assert_eq!(get_with(&service, "/department", &sales).text(), "sales");
    for token in [token.clone().sign(), token.claim("department", 7).sign()] {
        let response = get_with(&service, "/department", &token);
        assert_eq!(response.status, 403);
        assert_eq!(response.json()["title"], "Forbidden");
    }
    let line = service.wait_for_line(|line| line["status"] == 403);
    assert_eq!(line["auth"], "claims");
}

#[test]
fn health_and_public_routes_need_no_token_and_a_handler_without_the_layer_fails() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    for path in ["/health/liveness", "/health/readiness", "/public"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    assert_eq!(service.get("/unknown").status, 404);
    assert_eq!(service.admin().get("/metrics").status, 200);
    let token = issuer.token("orders").sign();
    assert_eq!(get_with(&service, "/forgotten", &token).status, 500);
    let line = service.wait_for_line(|line| line["error"].is_string());
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("without the layer"), "{error}");
}
