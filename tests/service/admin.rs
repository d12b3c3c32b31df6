//! The admin listener: it answers whatever the service does, and lets only some change things.

use std::time::{Duration, Instant};

use crate::client::{Connection, get, post, request};
use crate::program::{Program, Setup, eventually};

#[test]
fn liveness_notices_a_stalled_runtime_and_its_recovery() {
    // One worker is all there are.
    let program = Setup::default()
        .set("service.threads", 1)
        .set("health.stall", "1s")
        .start();
    eventually("live", || {
        get(program.admin, "/health/liveness").status == 200
    });
    let mut blocked = Connection::open(program.main).unwrap();
    blocked
        .send(b"GET /block/5000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("stalled", || {
        get(program.admin, "/health/liveness").status == 503
    });
    let asked = Instant::now();
    assert_eq!(get(program.admin, "/metrics").status, 200);
    assert_eq!(
        get(program.admin, "/health/liveness").json()["status"],
        "stalled"
    );
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(blocked.answer().unwrap().status, 200);
    eventually("live again", || {
        get(program.admin, "/health/liveness").status == 200
    });
}

#[test]
fn a_dependency_that_hangs_makes_it_unready_without_holding_a_probe_up() {
    let program = Setup::default()
        .set("health.interval", "50ms")
        .set("health.timeout", "50ms")
        .set("health.failures", 2)
        .start();
    eventually("ready", || {
        get(program.admin, "/health/readiness").status == 200
    });
    for (state, error) in [(2, "no answer within 50ms"), (1, "refused")] {
        post(
            program.main,
            &format!("/dependency/{state}"),
            "text/plain",
            "",
        );
        eventually("down", || {
            get(program.admin, "/health/readiness").status == 503
        });
        eventually(error, || {
            let report = get(program.admin, "/health/readiness").json();
            report["checks"]["dependency"]["error"] == error
        });
        let asked = Instant::now();
        assert_eq!(get(program.main, "/health/readiness").status, 503);
        assert!(
            asked.elapsed() < Duration::from_millis(500),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(get(program.admin, "/health/liveness").status, 200);
        assert_eq!(
            program.metric("readiness_check_up{check=\"dependency\"}"),
            0.0
        );
        assert_eq!(program.metric("readiness_ready"), 0.0);
        post(program.main, "/dependency/0", "text/plain", "");
        eventually("up", || {
            get(program.admin, "/health/readiness").status == 200
        });
    }
    assert!(program.metric("readiness_check_failures_total{check=\"dependency\"}") >= 2.0);
}

#[test]
fn startup_tells_when_the_services_own_start_is_done() {
    let process = Setup::default().set("subject.start", "1s").launch();
    let admin = process.admin().address();
    assert_eq!(get(admin, "/health/startup").status, 503);
    assert_eq!(get(admin, "/health/liveness").status, 200);
    assert_eq!(get(admin, "/health/readiness").json()["status"], "starting");
    eventually("started", || get(admin, "/health/startup").status == 200);
}

#[test]
fn the_log_filter_can_be_changed_for_a_while() {
    let program = Program::start();
    let put = |query: &str, filter: &str| {
        request(program.admin, "PUT", &format!("/log{query}"), &[], filter)
    };
    let changed = put("?ttl=300ms", "info,access=off");
    assert_eq!(
        (changed.status, &changed.json()["filter"]),
        (200, &serde_json::json!("info,access=off"))
    );
    get(program.main, "/number/1");
    eventually("reverted", || {
        get(program.admin, "/log").json()["filter"] == "info"
    });
    get(program.main, "/number/2");
    assert_eq!(put("", "loud").status, 400);
    for ttl in ["soon", "18446744073709551615s", "36501d"] {
        assert_eq!(put(&format!("?ttl={ttl}"), "info").status, 400, "{ttl}");
    }
    assert_eq!(get(program.admin, "/log").json()["filter"], "info");
    program.process.wait_for_message("log filter reverted");
    let (_, log) = program.stop();
    let paths: Vec<_> = log
        .iter()
        .filter(|line| line["target"] == "access")
        .map(|line| &line["path"])
        .collect();
    assert_eq!(paths, ["/number/2"]);
}

#[test]
fn a_change_that_is_not_from_here_needs_the_token() {
    let program = Setup::default().set("admin.token", "s3cret").start();
    let put =
        |headers: &[(&str, &str)]| request(program.admin, "PUT", "/log", headers, "info").status;
    assert_eq!(put(&[("x-forwarded-for", "192.0.2.1")]), 403);
    assert_eq!(
        put(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Bearer wrong")
        ]),
        403
    );
    assert_eq!(
        put(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Bearer s3cret")
        ]),
        200
    );
    let config = get(program.admin, "/config");
    assert!(
        config.body.contains("[redacted]") && !config.body.contains("s3cret"),
        "{}",
        config.body
    );
}

#[test]
fn the_process_says_what_it_is() {
    let program = Program::start();
    let version = get(program.admin, "/version").json();
    assert_eq!(version["name"], "subject");
    assert_eq!(version["version"], "1.2.3");
    assert_eq!(version["revision"], "abc123");
    assert!(version["rustc"].as_str().unwrap().starts_with("1."));
    let page = get(program.admin, "/");
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    for text in ["subject", "dependency", "ready", "/health/liveness"] {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    let zipped = request(
        program.admin,
        "GET",
        "/metrics",
        &[("accept-encoding", "gzip")],
        "",
    );
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let open = [("accept", "application/openmetrics-text; version=1.0.0")];
    let open = request(program.admin, "GET", "/metrics", &open, "");
    assert!(
        open.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn the_number_of_threads_is_logged_with_its_reason() {
    let program = Setup::default().set("service.threads", 3).start();
    let line = program.process.wait_for_message("runtime sized");
    assert_eq!(
        (&line["threads"], &line["reason"]),
        (&3.into(), &"service.threads is set".into())
    );
    assert_eq!(program.metric("tokio_workers"), 3.0);
}
