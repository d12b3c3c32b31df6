//! The admin listener: it answers whatever the service does, and lets only some change things.

use std::time::{Duration, Instant};

use crate::client::{Connection, get, post, request};
use crate::program::{Program, Setup, TOKEN, bearer, eventually};

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
fn a_dependency_that_is_down_from_the_start_is_logged_once() {
    let process = Setup::default()
        .set("subject.down", true)
        .set("health.interval", "10ms")
        .set("health.failures", 2)
        .launch();
    let line = process.wait_for_message("readiness check is down");
    assert_eq!(
        (&line["level"], &line["check"], &line["error"]),
        (&"WARN".into(), &"dependency".into(), &"refused".into())
    );
    process.wait_for_message("started");
    assert_eq!(process.get("/health/readiness").status, 503);
    process.request("POST", "/dependency/0", &[], "");
    process.wait_for_message("readiness check is up");
    let ended = process.stop();
    let down = ended.log.iter();
    let down = down.filter(|line| line["message"] == "readiness check is down");
    assert_eq!(down.count(), 1);
}

#[test]
fn a_hanging_dependency_makes_it_unready_and_delays_no_probe() {
    let program = Setup::default()
        .set("health.interval", "50ms")
        .set("health.timeout", "50ms")
        .set("health.failures", 2)
        .start();
    eventually("ready", || {
        get(program.admin, "/health/readiness").status == 200
    });
    for (state, error) in [(2, "no response within 50ms"), (1, "refused")] {
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
fn startup_is_200_once_the_service_has_started() {
    let process = Setup::default().set("subject.start", "1s").launch();
    let admin = process.admin().address();
    assert_eq!(get(admin, "/health/startup").status, 503);
    assert_eq!(get(admin, "/health/liveness").status, 200);
    assert_eq!(get(admin, "/health/readiness").json()["status"], "starting");
    eventually("started", || get(admin, "/health/startup").status == 200);
}

#[test]
fn the_log_filter_can_be_changed_for_a_while() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let put = |query: &str, filter: &str| {
        let path = format!("/log{query}");
        request(program.admin, "PUT", &path, &[bearer()], filter)
    };
    let in_force = || {
        let answer = request(program.admin, "GET", "/log", &[bearer()], "");
        answer.json()["filter"].clone()
    };
    let changed = put("?ttl=300ms", "info,access=off");
    assert_eq!(
        (changed.status, &changed.json()["filter"]),
        (200, &serde_json::json!("info,access=off"))
    );
    get(program.main, "/number/1");
    eventually("reverted", || in_force() == "info");
    get(program.main, "/number/2");
    assert_eq!(put("", "loud").status, 400);
    for ttl in ["soon", "18446744073709551615s", "36501d", "25h", "0s", ""] {
        assert_eq!(put(&format!("?ttl={ttl}"), "info").status, 400, "{ttl}");
    }
    assert_eq!(in_force(), "info");
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
fn a_change_of_the_filter_and_its_end_are_logged_regardless_of_the_filter() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let headers = [bearer(), ("x-request-id", "who-did-it")];
    let put = |query: &str, filter: &str| {
        request(
            program.admin,
            "PUT",
            &format!("/log{query}"),
            &headers,
            filter,
        )
    };
    let off = put("?ttl=300ms", "off");
    assert_eq!(
        (off.status, off.header("x-request-id")),
        (200, Some("who-did-it"))
    );
    program.process.wait_for_message("log filter reverted");
    assert_eq!(put("", "off").json()["reverts_in_seconds"], 3599);
    let metric =
        |result| program.metric(&format!("log_filter_changes_total{{result=\"{result}\"}}"));
    assert_eq!((metric("changed"), metric("reverted")), (2.0, 1.0));
    let (_, log) = program.stop();
    let of = |message| log.iter().filter(move |line| line["message"] == message);
    let changed: Vec<_> = of("log filter changed").collect();
    assert_eq!(changed.len(), 2);
    for (key, value) in [
        ("level", "WARN"),
        ("filter", "off"),
        ("before", "info"),
        ("ttl", "300ms"),
        ("client", "127.0.0.1"),
        ("request_id", "who-did-it"),
    ] {
        assert_eq!(changed[0][key], value, "{key}");
    }
    assert_eq!(changed[1]["ttl"], "1h");
    let reverted = of("log filter reverted").next().unwrap();
    assert_eq!(
        (&reverted["filter"], &reverted["before"]),
        (&"info".into(), &"off".into())
    );
}

#[test]
fn with_a_token_changing_the_filter_and_reading_sensitive_routes_require_it() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let ask = |method, path, headers: &[(&str, &str)]| {
        request(program.admin, method, path, headers, "info").status
    };
    let wrong = ("authorization", "Bearer 0123456789abcdeX");
    for (method, path) in [
        ("GET", "/"),
        #[cfg(feature = "admin-page")]
        ("GET", "/status"),
        ("GET", "/config"),
        ("GET", "/log"),
        ("PUT", "/log"),
    ] {
        assert_eq!(ask(method, path, &[]), 401, "{method} {path}");
        assert_eq!(ask(method, path, &[wrong]), 401, "{method} {path}");
        assert_eq!(ask(method, path, &[bearer()]), 200, "{method} {path}");
    }
    assert_eq!(ask("POST", "/log", &[]), 401);
    for path in [
        "/health/liveness",
        "/health/readiness",
        "/health/startup",
        "/metrics",
        "/version",
    ] {
        assert_eq!(ask("GET", path, &[]), 200, "{path}");
    }
    let refused = get(program.admin, "/config");
    assert!(refused.header("www-authenticate").is_some());
    let config = request(program.admin, "GET", "/config", &[bearer()], "");
    assert!(
        config.body.contains("[redacted]") && !config.body.contains(TOKEN),
        "{}",
        config.body
    );
    assert!(program.metric("admin_requests_refused_total{reason=\"token\"}") >= 10.0);
    let (_, log) = program.stop();
    let refusals = log
        .iter()
        .filter(|line| line["message"] == "request to the admin listener refused");
    assert_eq!(refusals.count(), 1, "one line in ten seconds");
}

#[test]
fn reads_can_be_public_while_changes_require_the_token() {
    let program = Setup::default()
        .set("admin.token", TOKEN)
        .set("admin.read", "everyone")
        .start();
    assert_eq!(get(program.admin, "/config").status, 200);
    let put = |headers: &[_]| request(program.admin, "PUT", "/log", headers, "info").status;
    assert_eq!((put(&[]), put(&[bearer()])), (401, 200));
}

#[test]
fn without_a_token_a_service_in_a_container_rejects_changes() {
    for setup in [
        Setup::default().variable("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        Setup::default().set("service.platform", "container"),
        // A setting does not lift what a container needs.
        Setup::default()
            .variable("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .set("service.platform", "terminal"),
    ] {
        let program = setup.start();
        assert_eq!(get(program.admin, "/config").status, 200);
        let put = request(program.admin, "PUT", "/log", &[], "info");
        assert_eq!(put.status, 403);
        assert!(put.body.contains("set admin.token"), "{}", put.body);
    }
}

#[test]
fn dns_rebinding_in_a_browser_with_a_forwarded_port_reads_nothing() {
    let program = Program::start();
    let status = |path: &str, host: &str| {
        let mut client = Connection::open(program.admin).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.answer().unwrap().status
    };
    for path in [
        "/",
        #[cfg(feature = "admin-page")]
        "/status",
        "/config",
        "/log",
    ] {
        assert_eq!(status(path, "evil.example:9090"), 421, "{path}");
        assert_eq!(status(path, "localhost:9090"), 200, "{path}");
    }
    // Machines ask by any name.
    for path in ["/metrics", "/health/liveness", "/version"] {
        assert_eq!(status(path, "orders-admin"), 200, "{path}");
    }
}

#[test]
fn a_weak_token_fails_the_start() {
    for (token, environment, expected) in [
        ("hunter2", "dev", "too short"),
        ("                    ", "dev", "too short"),
        ("for-development-only", "production", "development token"),
    ] {
        let ended = Setup::default()
            .set("admin.token", token)
            .variable("RUN_ENV", environment)
            .run("--check-config");
        let text = &ended.stderr;
        assert_eq!(ended.code, Some(78), "{text}");
        assert!(
            text.contains("admin.token") && text.contains(expected),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    Setup::default()
        .set("admin.token", "for-development-only")
        .variable("RUN_ENV", "dev")
        .start();
}

#[test]
fn version_describes_the_process() {
    let program = Program::start();
    let version = get(program.admin, "/version").json();
    assert_eq!(version["name"], "subject");
    assert_eq!(version["version"], "1.2.3");
    assert_eq!(version["revision"], "abc123");
    assert!(version["rustc"].as_str().unwrap().starts_with("1."));
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

#[cfg(not(feature = "admin-page"))]
#[test]
fn without_the_admin_page_the_root_lists_the_routes_and_each_answers() {
    let program = Program::start();
    let list = get(program.admin, "/");
    let kind = list.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let (title, paths) = list.body.split_once("\n\n").unwrap();
    assert_eq!(title, "subject 1.2.3");
    let paths: Vec<&str> = paths.lines().collect();
    for path in ["/health/readiness", "/metrics", "/config", "/log"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    for path in paths {
        assert_eq!(get(program.admin, path).status, 200, "{path}");
    }
    for path in ["/status", "/page.css", "/page.js"] {
        assert_eq!(get(program.admin, path).status, 404, "{path}");
    }
}

#[test]
fn no_browser_guesses_the_type_of_a_response() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    for path in [
        "/",
        "/status",
        "/config",
        "/log",
        "/metrics",
        "/version",
        "/health/liveness",
        "/nowhere",
    ] {
        for headers in [&[][..], &[bearer()]] {
            let answer = request(program.admin, "GET", path, headers, "");
            let header = answer.header("x-content-type-options");
            assert_eq!(header, Some("nosniff"), "{path}: {}", answer.status);
        }
    }
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
