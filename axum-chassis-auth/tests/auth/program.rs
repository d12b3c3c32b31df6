//! The service under test. It is a test of this file that is otherwise ignored, run in a process of its own.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use axum_chassis::Service;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use axum_chassis_auth::Caller;
use axum_chassis_auth::testing::Issuer;
use axum_chassis_testing::{Process, Program, Response};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    auth: axum_chassis_auth::Settings,
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        errors.within("auth", &self.auth);
    }
}

#[derive(Deserialize)]
struct Employee {
    department: String,
}

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    // The log begins on a line of its own, after the output of the test harness.
    println!();
    let flags = std::env::var("FLAGS").unwrap_or_default();
    let code = Service::<Settings>::new("subject", "1.2.3")
        .arguments(flags.split_whitespace())
        .run(async |chassis| {
            let auth = axum_chassis_auth::auth(&chassis, "auth", &chassis.settings().auth).await?;
            let subject = async |Caller(caller): Caller| caller.subject;
            let department = async |Caller(caller): Caller<Employee>| caller.department;
            Ok(Router::new()
                .route("/", get(subject))
                .route("/department", get(department))
                .route("/write", get(subject).layer(auth.require("orders:write")))
                .route_layer(auth.layer())
                .route("/admin", get(subject).layer(auth.require("admin")))
                .route("/public", get("public"))
                .route("/forgotten", get(subject)))
        });
    // An exit code's number is only visible in `Debug`.
    let number: String = format!("{code:?}")
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    std::process::exit(number.parse().expect("an exit code"));
}

/// The service without settings.
pub(crate) fn program_without_settings() -> Program {
    Program::new(std::env::current_exe().unwrap()).arguments([
        "--exact",
        "program::program",
        "--ignored",
        "--nocapture",
        "--quiet",
    ])
}

/// The service, as the audience `orders` of this issuer.
pub(crate) fn service(issuer: &Issuer) -> Program {
    let settings = issuer.settings("auth", "orders");
    let program = program_without_settings();
    settings
        .into_iter()
        .fold(program, |program, (key, value)| program.set(&key, value))
}

/// Sends a request with this token.
#[track_caller]
pub(crate) fn get_with(service: &Process, path: &str, token: &str) -> Response {
    let header = format!("Bearer {token}");
    service.request("GET", path, &[("authorization", &header)], "")
}

/// One series of the metrics.
pub(crate) fn metric(service: &Process, series: &str) -> f64 {
    let scrape = service.admin().get("/metrics").text().to_owned();
    let mut lines = scrape.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(f64::NAN, |value| value.parse().expect("a number"))
}

/// The number of checks with this outcome.
pub(crate) fn checks(service: &Process, outcome: &str) -> f64 {
    metric(
        service,
        &format!("auth_checks_total{{auth=\"auth\",outcome=\"{outcome}\"}}"),
    )
}

/// Polls until the condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a service that does not get its keys, and returns the error of the first attempt.
#[track_caller]
pub(crate) fn start_error(program: Program) -> String {
    let service = program.launch();
    let line = service.wait_for_message("waiting for a dependency");
    assert_eq!(line["dependency"], "auth");
    line["error"].as_str().expect("an error").to_owned()
}
