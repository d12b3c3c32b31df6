//! The admin page and its JSON: what is wrong, since when, and the filter of the log.

use serde_json::Value;

use crate::client::{Answer, Connection, get, post, request};
use crate::program::{Program, Setup, TOKEN, bearer, eventually};

/// A service whose check notices soon.
fn started() -> Program {
    let program = Setup::default()
        .set("health.interval", "50ms")
        .set("health.failures", 2)
        .start();
    eventually("ready", || {
        get(program.admin, "/health/readiness").status == 200
    });
    program
}

fn status(program: &Program) -> Value {
    get(program.admin, "/status").json()
}

fn found(program: &Program) -> Vec<String> {
    let findings = status(program)["findings"].clone();
    serde_json::from_value(findings).expect("a list of texts")
}

#[test]
fn a_failing_route_a_slow_route_and_a_failing_check_are_named() {
    let program = started();
    assert_eq!(found(&program), Vec::<String>::new());
    assert!(get(program.admin, "/").body.contains("Nothing is wrong"));
    let sent = get(program.main, "/number/1").body.len();
    get(program.main, "/fail");
    get(program.main, "/sleep/700");
    post(program.main, "/dependency/1", "text/plain", "");
    eventually("down", || status(&program)["state"] == "not ready");

    let found = found(&program);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("Check dependency is down for ") && found[0].ends_with("refused"),
        "{found:?}"
    );
    for wrong in [
        "/fail fails: 100 % of 1 requests",
        "/sleep/{ms} is slow: p99 of 7",
    ] {
        assert!(
            found.iter().any(|found| found.starts_with(wrong)),
            "{wrong}: {found:?}"
        );
    }
    let page = get(program.admin, "/").body;
    for text in [
        "/fail fails",
        "/sleep/{ms} is slow",
        "not ready for 0s",
        "Worker threads: ",
        "Open files: at most ",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let routes = status(&program)["routes"].clone();
    let numbers = routes.as_array().expect("routes").iter();
    let number = numbers
        .clone()
        .find(|route| route["route"] == "/number/{number}");
    let number = number.expect("its route");
    assert_eq!(
        (&number["requests"], &number["errors"]),
        (&1.into(), &0.0.into())
    );
    assert_eq!(number["response_bytes"], sent);

    post(program.main, "/dependency/0", "text/plain", "");
    eventually("up", || status(&program)["state"] == "ready");
    let check = status(&program)["checks"][0].clone();
    assert_eq!(check["last_failure"]["error"], "refused");
    let history = check["history"].as_array().expect("changes").iter();
    let history: Vec<_> = history.map(|change| &change["up"]).collect();
    assert_eq!(history, [false, true, false, true]);
}

#[test]
fn the_page_shows_what_a_shutdown_waits_for() {
    let program = started();
    assert!(status(&program)["stop"].is_null());
    let mut busy = Connection::open(program.main).unwrap();
    busy.send(b"GET /sleep/1500 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("busy", || {
        program.metric("http_server_active_requests") == 1.0
    });
    program.process.terminate();
    eventually("closing", || status(&program)["stop"]["phase"] == "closing");
    let status = status(&program);
    assert_eq!(status["state"], "stopping");
    assert_eq!(status["stop"]["requests"], 1.0);
    assert_eq!(status["stop"]["deadline_seconds"], 25);
    assert!(get(program.admin, "/").body.contains("1 requests"));
    assert_eq!(busy.answer().unwrap().status, 200);
}

/// Sends the request of a browser with the page at `127.0.0.1:9090`, after its user has entered the token.
fn write(program: &Program, method: &str, origin: &str, body: &str) -> Answer {
    let mut browser = Connection::open(program.admin).unwrap();
    // `any:0123456789abcdef`
    let request = format!(
        "{method} /log HTTP/1.1\r\nhost: 127.0.0.1:9090\r\norigin: {origin}\r\n\
         authorization: Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    browser.send(request.as_bytes()).unwrap();
    browser.answer().unwrap()
}

#[test]
fn the_form_of_the_page_sets_a_filter_temporarily_and_pages_of_other_sites_cannot() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let read = |path| request(program.admin, "GET", path, &[bearer()], "");
    let in_force = || read("/log").json()["filter"].clone();
    for origin in ["https://evil.example", "null", "http://127.0.0.1:8080"] {
        let posted = write(&program, "POST", origin, "filter=trace&ttl=10m");
        let put = write(&program, "PUT", origin, "trace");
        assert_eq!((posted.status, put.status), (403, 403), "{origin}");
    }
    let submit = |form: &str| write(&program, "POST", "http://127.0.0.1:9090", form);
    for form in ["filter=loud&ttl=10m", "filter=info&ttl=soon", "ttl=10m", ""] {
        assert_eq!(submit(form).status, 400, "{form}");
    }
    assert_eq!(in_force(), "info");
    let answer = submit("filter=info%2Caccess%3Doff&ttl=1s");
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("./#log"))
    );
    assert_eq!(in_force(), "info,access=off");
    assert!(read("/").body.contains("then <code>info</code>"));
    eventually("reverted", || in_force() == "info");
}

#[test]
fn warnings_and_panics_are_shown_newest_first_with_the_ids_of_their_requests() {
    let program = Program::start();
    let failed = get(program.main, "/fail");
    let panicked = get(program.main, "/panic");
    let lines = status(&program)["log"].clone();
    let lines: Vec<&str> = lines
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| line["line"].as_str().expect("a line"))
        .collect();
    assert!(
        !lines.iter().any(|line| line.contains("\"INFO\"")),
        "{lines:?}"
    );
    let at = |message: &str, answer: &Answer| {
        let id = answer.header("x-request-id").expect("an id");
        let of = |line: &&str| line.contains(message) && line.contains(id);
        let found = lines.iter().position(of);
        found.unwrap_or_else(|| panic!("{message}: {lines:?}"))
    };
    assert!(at("panicked", &panicked) < at("request failed", &failed));
    // The message of a panic may contain a secret: it is only in the log.
    assert!(
        !lines.iter().any(|line| line.contains("a handler's panic")),
        "{lines:?}"
    );
    let page = get(program.admin, "/").body;
    let id = panicked.header("x-request-id").expect("an id");
    assert!(page.contains(id) && page.contains("<summary>Backtrace</summary>"));
}

#[test]
fn settings_other_than_the_defaults_come_first_and_secrets_are_redacted() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let status = request(program.admin, "GET", "/status", &[bearer()], "");
    assert!(!status.body.contains(TOKEN));
    let settings = status.json()["settings"].clone();
    let origins = settings.as_array().expect("settings").iter();
    let is_default = |it: &Value| it["origin"].as_str().unwrap().starts_with("default");
    let default: Vec<bool> = origins.map(is_default).collect();
    assert!(!default[0] && default.is_sorted(), "{settings}");
}

#[test]
fn the_content_security_policy_forbids_other_origins() {
    let program = Program::start();
    let page = get(program.admin, "/");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let asset = get(program.admin, path);
        assert!(
            asset
                .header("content-type")
                .expect("a type")
                .starts_with(kind)
        );
        assert!(!asset.body.contains("http://") && !asset.body.contains("https://"));
    }
}

#[test]
fn the_page_shows_the_service_and_links_to_the_other_routes_of_the_same_host() {
    let program = started();
    let page = get(program.admin, "/");
    let kind = page.header("content-type").unwrap();
    assert!(kind.starts_with("text/html"), "{kind}");
    for text in ["subject", "dependency", "ready", "/health/liveness"] {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
}
