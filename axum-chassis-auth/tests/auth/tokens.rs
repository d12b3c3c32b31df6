//! Tokens that are not valid, each rejected with the right status, and nothing of it in the log.

use std::time::Duration;

use axum_chassis_auth::testing::{Issuer, Token};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::program::{checks, get_with, service, start_error};

/// In a claim and in a header parameter of each token. It must not be in the log.
const MARK: &str = "hunter2";

fn token(issuer: &Issuer) -> Token {
    issuer
        .token("orders")
        .subject(MARK)
        .scope(MARK)
        .header("x-mark", MARK)
}

/// Replaces a part of a token.
fn with_part(token: &str, at: usize, part: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[at] = part;
    parts.join(".")
}

fn encoded(json: Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Invalid tokens, by the name of their outcome in the access line and the metrics.
fn invalid_tokens(issuer: &Issuer, foreign: &Issuer) -> Vec<(&'static str, String)> {
    let good = token(issuer).sign();
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    let past = json!(1_700_000_000);
    let future = json!(4_000_000_000_u64);
    let key = serde_json::from_str::<Value>(&foreign.key_set()).unwrap()["keys"][0].clone();
    let mut altered = signature.as_bytes().to_vec();
    altered[10] = if altered[10] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let padded = URL_SAFE
        .encode(json!({"alg": "ES256", "typ": "at+jwt", "kid": "key-1", "x": "yy"}).to_string());
    let unsigned = |header: Value| format!("{}.{payload}.", encoded(header));
    let mut tokens = vec![
        // The form.
        ("malformed", String::new()),
        ("malformed", MARK.to_owned()),
        ("malformed", "..".to_owned()),
        ("malformed", format!("{header}.{payload}")),
        ("malformed", format!("{good}.{signature}")),
        ("malformed", format!("{good}.{signature}.{signature}")),
        ("malformed", format!("{good} {good}")),
        ("malformed", with_part(&good, 0, MARK)),
        ("malformed", with_part(&good, 0, &padded)),
        ("malformed", with_part(&good, 0, &"A".repeat(5000))),
        (
            "malformed",
            token(issuer).claim("large", "x".repeat(17_000)).sign(),
        ),
        (
            "malformed",
            token(issuer).header("large", "x".repeat(4000)).sign(),
        ),
        // The algorithm.
        (
            "algorithm",
            unsigned(json!({"alg": "none", "typ": "at+jwt"})),
        ),
        (
            "algorithm",
            unsigned(json!({"alg": "None", "typ": "at+jwt"})),
        ),
        (
            "algorithm",
            unsigned(json!({"typ": "at+jwt", "kid": "key-1"})),
        ),
        ("algorithm", token(issuer).header("alg", "none").sign()),
        ("algorithm", token(issuer).header("alg", "HS256").sign()),
        ("algorithm", token(issuer).header("alg", "es256").sign()),
        ("algorithm", token(issuer).header("alg", "ES384").sign()),
        ("unknown_key", token(issuer).header("alg", "RS256").sign()),
        // Extensions and types.
        (
            "malformed",
            token(issuer).header("crit", json!(["exp"])).sign(),
        ),
        ("malformed", token(issuer).header("crit", json!([])).sign()),
        (
            "malformed",
            token(issuer)
                .header("crit", json!(["b64"]))
                .header("b64", true)
                .sign(),
        ),
        ("malformed", token(issuer).header("b64", false).sign()),
        ("token_type", token(issuer).header("typ", "JWT").sign()),
        (
            "token_type",
            token(issuer).header("typ", "logout+jwt").sign(),
        ),
        (
            "token_type",
            token(issuer).header("typ", Value::Null).sign(),
        ),
        // The key and the signature.
        ("unknown_key", token(issuer).header("kid", MARK).sign()),
        (
            "signature",
            token(foreign).claim("iss", issuer.url()).sign(),
        ),
        (
            "signature",
            token(foreign)
                .claim("iss", issuer.url())
                .header("jwk", key.clone())
                .sign(),
        ),
        (
            "signature",
            token(foreign)
                .claim("iss", issuer.url())
                .header("jku", format!("{}/keys", foreign.url()))
                .header("x5u", format!("{}/keys", foreign.url()))
                .sign(),
        ),
        ("signature", with_part(&good, 2, &altered)),
        ("signature", with_part(&good, 2, "")),
        ("signature", with_part(&good, 2, "AAAA")),
        (
            "signature",
            with_part(&good, 1, &encoded(json!({"sub": "admin"}))),
        ),
        // The claims.
        (
            "issuer",
            token(issuer)
                .claim("iss", format!("{}/", issuer.url()))
                .sign(),
        ),
        ("issuer", token(issuer).claim("iss", foreign.url()).sign()),
        (
            "claims",
            token(issuer).claim("iss", json!([issuer.url()])).sign(),
        ),
        ("claims", token(issuer).claim("iss", 7).sign()),
        ("claims", token(issuer).claim("iss", Value::Null).sign()),
        ("audience", token(issuer).claim("aud", "orders2").sign()),
        (
            "audience",
            token(issuer).claim("aud", json!(["a", "ORDERS"])).sign(),
        ),
        (
            "claims",
            token(issuer).claim("aud", json!({"orders": true})).sign(),
        ),
        ("claims", token(issuer).claim("aud", Value::Null).sign()),
        ("expired", token(issuer).claim("exp", past.clone()).sign()),
        ("claims", token(issuer).claim("exp", Value::Null).sign()),
        ("claims", token(issuer).claim("exp", "4000000000").sign()),
        ("claims", token(issuer).claim("exp", -1).sign()),
        ("claims", token(issuer).claim("exp", 1e300).sign()),
        ("not_yet_valid", token(issuer).claim("nbf", future).sign()),
        ("claims", token(issuer).claim("nbf", "0").sign()),
        ("claims", token(issuer).claim("sub", Value::Null).sign()),
        (
            "malformed",
            token(issuer).claim("sub", json!([MARK])).sign(),
        ),
        (
            "claims",
            token(issuer).claim("scope", json!({MARK: 1})).sign(),
        ),
    ];
    let (exp, iss) = (4_000_000_000_u64, issuer.url());
    let rest = format!(r#""exp":{exp},"iss":"{iss}","aud":"orders""#);
    for (outcome, payload) in [
        (
            "malformed",
            format!(r#"{{"sub":"a","sub":"{MARK}",{rest}}}"#),
        ),
        (
            "claims",
            format!(r#"{{"sub":"a","scope":"a","scope":"{MARK}",{rest}}}"#),
        ),
        ("malformed", format!(r#"{{"sub":"a","exp":1,{rest}}}"#)),
        (
            "malformed",
            format!(r#"{{"sub":"a","aud":"stock",{rest}}}"#),
        ),
        (
            "malformed",
            format!(r#"[{exp},0,"{MARK}","{iss}","orders"]"#),
        ),
        ("malformed", format!(r#"{{"sub":"a",{rest}"#)),
        ("malformed", format!(r#""{MARK}""#)),
        ("malformed", "[".repeat(10_000)),
        ("malformed", String::new()),
    ] {
        tokens.push((outcome, token(issuer).sign_payload(&payload)));
    }
    // A flipped bit anywhere in the signed part.
    for at in (0..good.len() - signature.len() - 1).step_by(37) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        tokens.push(("", String::from_utf8(bytes).unwrap()));
    }
    tokens
}

#[test]
fn an_invalid_token_is_a_401_that_names_the_reason_and_the_log_has_nothing_of_the_token() {
    let (issuer, foreign) = (Issuer::start(), Issuer::start());
    let service = service(&issuer).start();
    let tokens = invalid_tokens(&issuer, &foreign);
    let mut ids = Vec::new();
    for (outcome, token) in &tokens {
        let response = get_with(&service, "/", token);
        assert_eq!(response.status, 401, "{outcome}: {token}");
        let challenge = response.header("www-authenticate").unwrap();
        let expected = "Bearer error=\"invalid_token\", error_description=\"";
        assert!(challenge.starts_with(expected), "{challenge}: {token}");
        let problem = response.json();
        assert_eq!(problem["status"], 401);
        assert!(challenge.contains(problem["detail"].as_str().unwrap()));
        assert!(!format!("{response:?}").contains(MARK), "{response:?}");
        ids.push((outcome, response.header("x-request-id").unwrap().to_owned()));
    }
    for (outcome, id) in ids {
        let line = service.wait_for_line(|line| line["request_id"] == *id);
        assert_eq!(line["status"], 401);
        assert!(
            outcome.is_empty() || line["auth"] == **outcome,
            "{outcome}: {line}"
        );
        assert_eq!(line.get("sub"), None, "{line}");
    }
    assert_eq!(checks(&service, "accepted"), 0.0);
    assert_eq!(foreign.fetches(), 0, "keys that a token points to");
    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    let output = ended.stdout + &ended.stderr;
    for (_, token) in &tokens {
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!output.contains(part), "{part}");
        }
    }
    assert!(!output.contains(MARK));
}

#[test]
fn valid_tokens_of_every_allowed_form_are_accepted() {
    let issuer = Issuer::start();
    let service = service(&issuer).start();
    let good = || issuer.token("orders").subject("alice");
    for token in [
        good(),
        good().header("typ", "AT+JWT"),
        good().header("typ", "application/at+jwt"),
        good().claim("aud", json!(["stock", "orders"])),
        good().claim("nbf", 1_700_000_000),
        good().claim("exp", 4_000_000_000.5),
        good().header("kid", Value::Null),
        good().header("x5c", json!(["MIIB"])),
        // Within the leeway.
        good().expires_in(Duration::ZERO),
    ] {
        let response = get_with(&service, "/", &token.clone().sign());
        assert_eq!(
            (response.status, response.text()),
            (200, "alice"),
            "{token:?}"
        );
    }
    let token = good().sign();
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let header = format!("{scheme} {token}");
        let response = service.request("GET", "/", &[("authorization", &header)], "");
        assert_eq!(response.status, 200, "{scheme}");
    }
    let line = service.wait_for_line(|line| line["status"] == 200);
    assert_eq!(line["sub"], "alice");
    assert_eq!(line.get("auth"), None, "{line}");
    assert_eq!(checks(&service, "accepted"), 12.0);
}

#[test]
fn other_types_and_algorithms_are_accepted_only_if_the_settings_name_them() {
    let issuer = Issuer::start();
    let error = start_error(service(&issuer).set("auth.algorithms", "RS256"));
    assert!(
        error.contains("no key for the accepted algorithms"),
        "{error}"
    );
    let service = service(&issuer).set("auth.token_types", "JWT").start();
    let token = issuer.token("orders");
    assert_eq!(get_with(&service, "/", &token.clone().sign()).status, 401);
    let jwt = token.header("typ", "JWT").sign();
    assert_eq!(get_with(&service, "/", &jwt).status, 200);
}
