//! The start: settings, discovery, key files, and providers that do not respond or lie.

use axum_chassis_auth::testing::{Behavior, Issuer};

use crate::program::{get_with, program_without_settings, service, start_error};

#[test]
fn the_start_waits_for_the_provider_and_its_error_names_the_cause() {
    let issuer = Issuer::start();
    issuer.behave(Behavior::Status(503));
    let starting = service(&issuer).launch();
    starting.wait_for_message("waiting for a dependency");
    issuer.behave(Behavior::Serve);
    starting.wait_until_ready();
    assert_eq!(
        get_with(&starting, "/", &issuer.token("orders").sign()).status,
        200
    );
    drop(starting);

    issuer.behave(Behavior::Status(503));
    let ended = service(&issuer).set("service.start_timeout", "1s").output();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line = ended.message("service failed");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("auth: not available after"), "{error}");

    for (behavior, cause) in [
        (Behavior::Status(500), "500 Internal Server Error"),
        (
            Behavior::Redirect("http://127.0.0.1:1/".to_owned()),
            "redirects are not followed",
        ),
        (Behavior::Body("{}".to_owned()), "not a key set"),
        (Behavior::Body(" ".repeat(300_000)), "length limit exceeded"),
        (Behavior::Stall, "no response within 200 ms"),
    ] {
        // Other responses may take longer on a busy machine.
        let timeout = if behavior == Behavior::Stall {
            "200ms"
        } else {
            "5s"
        };
        issuer.behave(behavior);
        let error = start_error(service(&issuer).set("auth.fetch_timeout", timeout));
        assert!(error.contains(cause), "{cause}: {error}");
    }
}

#[test]
fn a_discovery_document_that_lies_fails_the_start() {
    for (name, value, cause) in [
        ("issuer", "https://other.example.com/", "has the issuer"),
        ("jwks_uri", "http://id.example.com/keys", "without TLS"),
        ("jwks_uri", "file:///etc/passwd", "expected a URL"),
        ("jwks_uri", "https://10.1.2.3/keys", "private address"),
        (
            "jwks_uri",
            "https://169.254.169.254/latest",
            "private address",
        ),
    ] {
        let issuer = Issuer::start();
        issuer.set_metadata(name, value);
        let error = start_error(service(&issuer));
        assert!(error.contains(cause), "{value}: {error}");
        assert_eq!(issuer.fetches(), 0);
    }
}

#[test]
fn keys_come_from_a_url_or_a_file_without_discovery() {
    let issuer = Issuer::start();
    issuer.set_metadata("jwks_uri", "https://10.1.2.3/keys");
    let by_url = service(&issuer)
        .set("auth.jwks_url", format!("{}/keys", issuer.url()))
        .start();
    let token = issuer.token("orders").sign();
    assert_eq!(get_with(&by_url, "/", &token).status, 200);
    drop(by_url);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, issuer.key_set()).unwrap();
    let fetches = issuer.fetches();
    let by_file = service(&issuer)
        .set("auth.jwks_file", file.display())
        .set("auth.refresh_cooldown", "10ms")
        .start();
    assert_eq!(get_with(&by_file, "/", &token).status, 200);
    issuer.rotate();
    std::fs::write(&file, issuer.key_set()).unwrap();
    crate::program::eventually("the file is read again", || {
        get_with(&by_file, "/", &issuer.token("orders").sign()).status == 200
    });
    assert_eq!(issuer.fetches(), fetches);
    let error = start_error(service(&issuer).set("auth.jwks_file", "missing.json"));
    assert!(error.contains("cannot read missing.json"), "{error}");
}

#[test]
fn the_settings_are_not_secret_and_are_shown() {
    let issuer = Issuer::start();
    let ended = service(&issuer)
        .variable("FLAGS", "--print-config")
        .output();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = format!("issuer = \"{}\"", issuer.url());
    assert!(ended.stdout.contains(&expected), "{}", ended.stdout);
    assert!(!ended.stdout.contains("redacted"), "{}", ended.stdout);
}

#[test]
fn missing_and_invalid_settings_are_reported_together() {
    let ended = program_without_settings()
        .variable("FLAGS", "--check-config")
        .set("auth.algorithms", "RS256")
        .set("auth.jwks_url", "http://id.example.com/keys")
        .output();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for error in ["auth.issuer", "auth.audience", "auth.jwks_url"] {
        assert!(ended.stderr.contains(error), "{error}: {}", ended.stderr);
    }
    let ended = program_without_settings()
        .variable("FLAGS", "--check-config")
        .set("auth.algorithms", "HS256")
        .output();
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("auth.algorithms"), "{}", ended.stderr);
}
