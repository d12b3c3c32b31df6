//! Examples, run within the test or as processes.

#[expect(dead_code, reason = "its main, which the test stands for")]
#[path = "../../examples/admin_routes.rs"]
mod admin_routes;
#[expect(dead_code, reason = "its main, which the test stands for")]
#[path = "../../examples/route_policies.rs"]
mod route_policies;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;

use axum::Router;
use axum_chassis::settings::Sources;
use axum_chassis::{Chassis, Running, Service};
use axum_chassis_testing::Program;
use tokio::runtime::Runtime;

use crate::client::{get, request};
use crate::program::{TOKEN, bearer};

/// An example as a process. `cargo test` builds all of them; with `--test`, only this builds it.
pub(crate) fn example(name: &str) -> Program {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(name);
    if !example.exists() {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package=axum-chassis", "--example"])
            .arg(name)
            .arg("--target-dir")
            .arg(profile.parent().unwrap_or(Path::new("target")))
            .status();
        assert!(status.unwrap().success());
    }
    Program::new(example)
}

fn start(
    runtime: &Runtime,
    start: impl AsyncFnOnce(Chassis<()>) -> anyhow::Result<Router>,
) -> Running {
    let sources = Sources::empty()
        .set("limits.request_timeout", "100ms")
        .set("limits.body", "1KiB")
        .set("admin.token", TOKEN);
    let service = Service::<()>::new("example", "1.2.3");
    runtime.block_on(service.start(sources, start)).unwrap()
}

#[test]
fn routes_with_policies_take_longer_and_larger_requests_than_others() {
    let runtime = Runtime::new().unwrap();
    let running = start(&runtime, route_policies::start);
    let main = running.address();
    let ask = move |path: &'static str| thread::spawn(move || get(main, path).status);
    let [poll, one, other] = ["/poll", "/report", "/report"].map(ask);
    let upload = |to: SocketAddr| request(to, "POST", "/files", &[], &"x".repeat(5000));
    assert_eq!(upload(main).body, "5000 bytes");
    let mut reports = [one, other].map(|report| report.join().unwrap());
    reports.sort_unstable();
    assert_eq!(reports, [200, 503]);
    assert_eq!(poll.join().unwrap(), 200);
    assert!(runtime.block_on(running.stop()).is_graceful());
}

#[test]
fn admin_routes_show_and_empty_what_the_service_keeps() {
    let runtime = Runtime::new().unwrap();
    let running = start(&runtime, admin_routes::start);
    assert_eq!(get(running.address(), "/square/12").body, "144");
    let ask = |method: &str| request(running.admin(), method, "/cache", &[bearer()], "");
    assert_eq!(ask("GET").body, "1");
    assert_eq!(ask("DELETE").status, 204);
    assert_eq!(ask("GET").body, "0");
    assert!(runtime.block_on(running.stop()).is_graceful());
}

/// As a process: a test has one subscriber for all of its services.
#[test]
fn a_tracing_layer_gets_an_error_that_the_log_leaves_out() {
    let program = example("tracing_layer")
        .set("logs.filter", "info,tracing_layer=off")
        .start();
    assert_eq!(program.get("/orders/7").status, 409);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("tracker: order: no stock"),
        "{}",
        ended.stderr
    );
    assert!(!ended.log.iter().any(|line| line["message"] == "no stock"));
}
