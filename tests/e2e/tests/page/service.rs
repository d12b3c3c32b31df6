//! The service that is looked at: this file's test, run as a program of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::routing::{get, post};
use axum_chassis::{Chassis, Problem, Service};
use axum_chassis_testing::{Process, Program};

/// More routes than the page counts separately.
pub(crate) const HOSTILE_ROUTES: usize = 200;

static DOWN: AtomicBool = AtomicBool::new(false);

pub(crate) fn start() -> Process {
    prepared().start()
}

/// A token that the admin port needs.
pub(crate) const TOKEN: &str = "0123456789abcdef";

pub(crate) fn start_with_a_token() -> Process {
    prepared().set("admin.token", TOKEN).start()
}

fn prepared() -> Program {
    Program::new(std::env::current_exe().expect("this test"))
        .arguments([
            "--exact",
            "service::program",
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .set("health.interval", "500ms")
        .set("health.failures", 2)
}

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    let service = Service::<()>::new("orders", "1.4.0").revision("1f2e3d4");
    let code = service.arguments([""; 0]).run(routes);
    // Past the test harness, which would say more.
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

async fn routes(chassis: Chassis<()>) -> anyhow::Result<Router> {
    chassis
        .readiness()
        .check("dependency", async || match DOWN.load(Ordering::Relaxed) {
            true => Err("connection refused"),
            false => Ok(()),
        });
    let slow = |millis| async move || tokio::time::sleep(Duration::from_millis(millis)).await;
    let mut router = Router::new()
        .route("/", get(async || "hello"))
        .route("/orders/{id}", get(async || "an order"))
        .route("/fails", get(fails))
        .route("/panics", get(panics))
        .route("/slow", get(slow(700)))
        .route("/slower", get(slow(4000)))
        .route(
            "/dependency/down",
            post(async || DOWN.store(true, Ordering::Relaxed)),
        );
    for number in 0..HOSTILE_ROUTES {
        let route = format!(
            "/hostile/{number}/{{{}}}",
            hostile(number).replace(['/', '*'], "")
        );
        router = router.route(&route, get(warn));
    }
    Ok(router)
}

async fn fails() -> Result<(), Problem> {
    Err(anyhow::anyhow!("the price of this order is not known"))?
}

async fn panics() {
    panic!("no such order")
}

/// A line with what the client sent.
async fn warn(headers: HeaderMap) {
    let text = headers[USER_AGENT].to_str().expect("text");
    tracing::warn!(header = text, "{text}");
}

/// Text that becomes markup if it is not escaped.
pub(crate) fn hostile(number: usize) -> String {
    let [open, close] = [
        ["<", ">"],
        ["\"><", ">"],
        ["'><", ">"],
        ["</td></table><", ">"],
        ["-->]]><", ">"],
    ][number % 5];
    let run = "window.injected=1";
    let tags = [
        format!("img src=x onerror={run}"),
        format!("script{close}{run}</script"),
        format!("svg/onload={run}"),
        format!("iframe srcdoc='<script>parent.{run}</script>'"),
        format!("body onload={run}"),
        format!("a href=javascript:{run}"),
        format!("style{close}@import 'x'</style"),
    ];
    format!("{open}{} {number}{close}", tags[number % tags.len()])
}
