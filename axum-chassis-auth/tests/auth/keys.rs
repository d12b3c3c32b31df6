//! Keys that change, and providers that fail.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum_chassis_auth::testing::{Behavior, Issuer};
use axum_chassis_testing::Process;

use crate::program::{checks, eventually, get_with, metric, service};

const SUCCEEDED: &str = "auth_key_fetches_total{auth=\"auth\",outcome=\"succeeded\"}";
const FAILED: &str = "auth_key_fetches_total{auth=\"auth\",outcome=\"failed\"}";

#[test]
fn while_keys_rotate_no_valid_token_is_rejected_and_no_invalid_one_accepted() {
    const COOLDOWN: Duration = Duration::from_millis(100);
    let (issuer, foreign) = (Issuer::start(), Issuer::start());
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "100ms")
        .start();
    let done = AtomicBool::new(false);
    // A failure elsewhere must not keep the threads running.
    let begun = Instant::now();
    let goes_on = || !done.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60);
    let [valid, invalid] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while goes_on() {
                    let response = get_with(&service, "/", &issuer.token("orders").sign());
                    assert_eq!(response.status, 200, "{response:?}");
                    valid.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while goes_on() {
                // Its key has the ID of a published one.
                let token = foreign.token("orders").claim("iss", issuer.url()).sign();
                assert_eq!(get_with(&service, "/", &token).status, 401);
                invalid.fetch_add(1, Ordering::Relaxed);
            }
        });
        for rotation in 1..=10 {
            // The cooldown since the last fetch has to be over, as it is with providers that rotate every few weeks.
            thread::sleep(COOLDOWN);
            issuer.rotate();
            eventually("the new key is fetched", || {
                metric(&service, SUCCEEDED) > f64::from(rotation)
            });
        }
        done.store(true, Ordering::Relaxed);
    });
    let [valid, invalid] = [valid, invalid].map(|count| count.load(Ordering::Relaxed));
    println!("{valid} valid and {invalid} invalid tokens during 10 rotations");
    assert!(valid > 50 && invalid > 10, "{valid} {invalid}");
    assert_eq!(issuer.fetches(), 11);
    assert_eq!(checks(&service, "signature"), invalid as f64);
}

#[test]
fn a_withdrawn_key_is_rejected_after_the_next_refresh() {
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "20ms")
        .set("auth.refresh_interval", "50ms")
        .start();
    let old = issuer.token("orders").sign();
    assert_eq!(get_with(&service, "/", &old).status, 200);
    issuer.rotate();
    issuer.withdraw_old_keys();
    eventually("the old key is not used", || {
        get_with(&service, "/", &old).status == 401
    });
    assert_eq!(
        get_with(&service, "/", &issuer.token("orders").sign()).status,
        200
    );
    assert_eq!(metric(&service, "auth_keys{auth=\"auth\"}"), 1.0);
}

#[test]
fn a_flood_of_unknown_keys_causes_at_most_one_fetch_per_cooldown() {
    const COOLDOWN: Duration = Duration::from_millis(500);
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "500ms")
        .start();
    let begun = Instant::now();
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while begun.elapsed() < COOLDOWN * 6 {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let token = issuer
                        .token("orders")
                        .header("kid", format!("unknown-{number}"));
                    assert_eq!(get_with(&service, "/", &token.sign()).status, 401);
                }
            });
        }
    });
    // One at the begin, and one for each cooldown that has passed.
    let most = 1 + begun.elapsed().as_millis() / COOLDOWN.as_millis();
    let fetches = issuer.fetches() - 1;
    println!("{sent:?} unknown keys, {fetches} fetches, at most {most}");
    assert!(fetches >= 3 && fetches as u128 <= most, "{fetches} {most}");
    // A known key is used at once.
    assert_eq!(
        get_with(&service, "/", &issuer.token("orders").sign()).status,
        200
    );
}

#[test]
fn while_the_provider_is_down_known_keys_stay_in_use_and_one_warning_is_logged() {
    for (behavior, readiness) in [
        (Behavior::Status(503), "inform"),
        (Behavior::Stall, "gate"),
        (
            Behavior::Redirect("http://127.0.0.1:1/keys".to_owned()),
            "inform",
        ),
        (Behavior::Body("{\"keys\":[]}".to_owned()), "inform"),
        (
            Behavior::Body("<html>maintenance</html>".to_owned()),
            "inform",
        ),
        (Behavior::Body(" ".repeat(300_000)), "inform"),
    ] {
        // Other responses may take longer on a busy machine.
        let timeout = if behavior == Behavior::Stall {
            "200ms"
        } else {
            "5s"
        };
        let issuer = Issuer::start();
        let service = service(&issuer)
            .set("auth.refresh_cooldown", "50ms")
            .set("auth.refresh_interval", "100ms")
            .set("auth.fetch_timeout", timeout)
            .set("auth.readiness", readiness)
            .set("health.interval", "50ms")
            .start();
        let known = issuer.token("orders").sign();
        issuer.behave(behavior.clone());
        issuer.rotate();
        // With the default interval of ten minutes, this would be two hours.
        eventually("twelve failed fetches", || {
            assert_eq!(get_with(&service, "/", &known).status, 200, "{behavior:?}");
            metric(&service, FAILED) >= 12.0
        });
        let ready = || service.get("/health/readiness").status == 200;
        eventually("readiness is as set", || ready() == (readiness == "inform"));

        // The token may be valid, so it is not a 401.
        let unknown = get_with(&service, "/", &issuer.token("orders").sign());
        assert_eq!(
            (unknown.status, unknown.header("retry-after")),
            (503, Some("1"))
        );
        assert_eq!(unknown.header("www-authenticate"), None);

        issuer.behave(Behavior::Serve);
        eventually("the new key is fetched", || {
            get_with(&service, "/", &issuer.token("orders").sign()).status == 200
        });
        eventually("ready", ready);
        service.wait_for_line(|line| {
            line["message"] == "readiness check is up" && line["check"] == "auth"
        });
        let log = service.stop().log;
        let warnings = log.iter().filter(|line| line["level"] == "WARN");
        let warnings: Vec<_> = warnings.collect();
        let [warning] = warnings[..] else {
            panic!("{warnings:?}");
        };
        assert_eq!(warning["message"], "readiness check is down");
        assert!(warning["error"].as_str().unwrap().len() > 10, "{warning}");
    }
}

#[test]
fn keys_that_are_too_old_are_not_used() {
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "50ms")
        .set("auth.refresh_interval", "50ms")
        .set("auth.max_key_age", "500ms")
        .start();
    let token = issuer.token("orders").sign();
    issuer.behave(Behavior::Status(500));
    eventually("503", || match get_with(&service, "/", &token).status {
        200 => false,
        status => status == 503,
    });
    assert!(metric(&service, "auth_keys_age_seconds{auth=\"auth\"}") > 0.5);
    issuer.behave(Behavior::Serve);
    eventually("200", || get_with(&service, "/", &token).status == 200);
}

/// Makes the second fetch of the keys stall, with a request whose key is unknown. The request waits on the connection.
fn begin_a_stalled_fetch(issuer: &Issuer, service: &Process) -> TcpStream {
    // The cooldown of these tests, in which no fetch begins.
    thread::sleep(Duration::from_millis(20));
    issuer.behave(Behavior::Stall);
    let unknown = issuer.token("orders").header("kid", "unknown").sign();
    let mut stream = TcpStream::connect(service.main().address()).unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {unknown}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    eventually("the fetch begins", || issuer.fetches() == 2);
    stream
}

#[test]
fn a_client_that_disconnects_does_not_cancel_the_fetch_for_others() {
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "20ms")
        .start();
    let stream = begin_a_stalled_fetch(&issuer, &service);
    drop(stream);
    issuer.rotate();
    let token = issuer.token("orders").sign();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| get_with(&service, "/", &token).status);
        service.wait_for_line(|line| line["auth"].is_null() && line["status"] == 499);
        issuer.behave(Behavior::Serve);
        // The stalled fetch has failed, so the service cannot know the key yet.
        assert!([200, 503].contains(&waiting.join().unwrap()));
    });
    eventually("200", || get_with(&service, "/", &token).status == 200);
    assert_eq!(metric(&service, FAILED), 1.0);
    assert!(metric(&service, SUCCEEDED) >= 2.0);
}

#[test]
fn a_fetch_that_stalls_does_not_delay_the_stop() {
    let issuer = Issuer::start();
    let service = service(&issuer)
        .set("auth.refresh_cooldown", "20ms")
        .set("auth.fetch_timeout", "60s")
        .start();
    let _waiting = begin_a_stalled_fetch(&issuer, &service);
    // Without an abort, which would be after the deadline of 25 s, the exit code is 0.
    assert_eq!(service.stop().code, Some(0));
}
