//! A service's own routes on the admin listener.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{any, get as on_get, post as on_post};
use axum_chassis::settings::Sources;
use axum_chassis::{Chassis, Error, Running, Service};
use tokio::runtime::Runtime;

use crate::client::{Connection, get, request};
use crate::program::{TOKEN, bearer, eventually};

/// Starts a service with these routes, in this process.
fn start(runtime: &Runtime, token: bool, routes: Router) -> Result<Running, Error> {
    let sources = match token {
        true => Sources::empty().set("admin.token", TOKEN),
        false => Sources::empty(),
    };
    let start = async move |chassis: Chassis<()>| {
        chassis.admin_routes(routes)?;
        Ok(Router::new())
    };
    runtime.block_on(Service::<()>::new("subject", "1.2.3").start(sources, start))
}

fn routes() -> Router {
    Router::new()
        .route("/cache", any(async |body: String| body))
        .route("/cache/{shard}/size", on_get("7"))
        .route(
            "/block",
            on_get(async || std::thread::sleep(Duration::from_secs(60))),
        )
        .route(
            "/panic",
            on_post(async || -> () { panic!("a handler's panic") }),
        )
        .fallback(async || "the team's fallback")
}

#[test]
fn the_access_rules_are_those_of_the_chassis() {
    let runtime = Runtime::new().unwrap();
    let running = start(&runtime, true, routes()).unwrap();
    let ask = |method: &str, path: &str, headers: &[_]| {
        request(running.admin(), method, path, headers, "info").status
    };
    for (method, path) in [
        ("GET", "/config"),
        ("PUT", "/log"),
        ("GET", "/cache"),
        ("GET", "/cache/3/size"),
        ("POST", "/cache"),
        ("DELETE", "/cache"),
        ("GET", "/another"),
    ] {
        assert_eq!(ask(method, path, &[]), 401, "{method} {path}");
        assert_eq!(ask(method, path, &[bearer()]), 200, "{method} {path}");
    }
    // From the page of another origin, in a browser that has the token.
    let origin = ("origin", "https://evil.example");
    for (method, status) in [("GET", 200), ("POST", 403), ("PATCH", 403)] {
        assert_eq!(
            ask(method, "/cache", &[bearer(), origin]),
            status,
            "{method}"
        );
    }
    // In a browser that was led here by another name.
    for path in ["/config", "/cache"] {
        let mut client = Connection::open(running.admin()).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().status, 421, "{path}");
    }
    // Machines ask without a token.
    assert_eq!(get(running.admin(), "/health/liveness").status, 200);

    let open = start(&runtime, false, routes()).unwrap();
    assert_eq!(get(open.admin(), "/cache/3/size").body, "7");
    // As the machine of this test has it: in a container nobody may.
    let ask = |method: &str, path: &str| request(open.admin(), method, path, &[], "info").status;
    assert_eq!(ask("POST", "/cache"), ask("PUT", "/log"));
}

#[test]
fn bodies_are_bounded_and_a_panic_is_an_answer() {
    let runtime = Runtime::new().unwrap();
    let running = start(&runtime, true, routes()).unwrap();
    let post = |path: &str, bytes: usize| {
        request(
            running.admin(),
            "POST",
            path,
            &[bearer()],
            &"x".repeat(bytes),
        )
    };
    assert_eq!(post("/cache", 1024).status, 200);
    assert_eq!(post("/cache", 1025).status, 413);
    let answer = post("/panic", 0);
    assert_eq!(answer.problem()["status"], 500);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_handler_that_blocks_ends_at_the_deadline_and_holds_up_no_probe() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let running = start(&runtime, false, routes()).unwrap();
    let (admin, began) = (running.admin(), Instant::now());
    let blocked = std::thread::spawn(move || get(admin, "/block"));
    // The only worker thread is blocked.
    let mut longest = Duration::ZERO;
    eventually("the deadline", || {
        let asked = Instant::now();
        assert_eq!(get(admin, "/health/startup").status, 200);
        longest = longest.max(asked.elapsed());
        blocked.is_finished()
    });
    let answer = blocked.join().unwrap();
    assert_eq!(answer.problem()["status"], 504);
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    runtime.shutdown_background();
}

#[test]
fn a_path_of_the_chassis_fails_the_start_and_is_named() {
    let runtime = Runtime::new().unwrap();
    for path in ["/", "/config", "/health/readiness", "/metrics", "/log"] {
        for routes in [
            Router::new().route(path, on_get("mine")),
            Router::new()
                .route("/fine", on_get(""))
                .route(path, on_post("mine")),
        ] {
            let error = start(&runtime, false, routes).expect_err(path);
            let Error::Start(error) = error else {
                panic!("{error:?}");
            };
            let expected = format!("admin route `{path}` is the chassis's");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
    let nested = Router::new().nest("/health", Router::new().route("/startup", on_get("mine")));
    assert!(start(&runtime, false, nested).is_err());

    // A pattern leaves the chassis its paths.
    let pattern = Router::new().route("/{page}", on_get("mine"));
    let running = start(&runtime, false, pattern).unwrap();
    assert_eq!(get(running.admin(), "/orders").body, "mine");
    assert_eq!(get(running.admin(), "/version").json()["name"], "subject");
}

#[test]
fn without_own_routes_an_unknown_path_is_a_404_for_everyone() {
    let runtime = Runtime::new().unwrap();
    let start = async |_| Ok(Router::new());
    let sources = Sources::empty().set("admin.token", TOKEN);
    let service = Service::<()>::new("subject", "1.2.3").start(sources, start);
    let running = runtime.block_on(service).unwrap();
    assert_eq!(get(running.admin(), "/nowhere").status, 404);
}
