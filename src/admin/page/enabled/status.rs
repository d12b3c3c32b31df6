//! `/status`: the data of the admin page as JSON.

use std::time::Instant;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::resources::{self, Resource};
use super::samples::{Interval, RequestCounts, Snapshot};
use crate::admin::Admin;
use crate::health::{ReadinessReport, Role};
use crate::settings::redact_secrets;
use crate::shared::Build;
use crate::shutdown::Phase;

/// A route is reported as a problem if this share of its requests failed: ten times the error budget of the alerts'
/// SLO.
const MANY_ERRORS: f64 = 0.01;
/// The p99 limit of the alerts' SLO.
const SLOW_SECONDS: f64 = 0.5;

/// The state of the service at one moment.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) build: &'a Build,
    pub(super) up_seconds: u64,
    /// `starting`, `ready`, `not ready` or `stopping`.
    pub(super) state: &'static str,
    pub(super) state_seconds: u64,
    /// The time since the service's runtime last ran a task, if the runtime is stalled.
    pub(super) stalled_seconds: Option<f64>,
    /// The current problems, one sentence for each.
    pub(super) findings: Vec<String>,
    pub(super) stop: Option<Stop>,
    pub(super) checks: Vec<CheckStatus>,
    pub(super) tasks: Vec<TaskStatus>,
    pub(super) traffic: Vec<Point>,
    /// The period that `routes` covers.
    pub(super) routes_seconds: f64,
    pub(super) routes: Vec<RouteStatus>,
    pub(super) resources: Vec<Resource>,
    /// The last warnings and errors, newest first.
    pub(super) log: Vec<LogLine>,
    pub(super) log_filter: Value,
    pub(super) settings: Vec<Setting>,
}

/// The progress of a shutdown.
#[derive(Serialize)]
pub(super) struct Stop {
    /// `draining`, `closing` or `aborting`.
    pub(super) phase: &'static str,
    pub(super) seconds: u64,
    pub(super) deadline_seconds: u64,
    pub(super) connections: f64,
    pub(super) requests: f64,
    pub(super) tasks: usize,
}

#[derive(Serialize)]
pub(super) struct CheckStatus {
    pub(super) name: String,
    /// `gate` or `inform`.
    pub(super) role: Role,
    pub(super) up: bool,
    pub(super) seconds: u64,
    pub(super) duration_ms: f64,
    pub(super) error: Option<String>,
    pub(super) failures: u64,
    pub(super) last_failure: Option<Failure>,
    /// Oldest first.
    pub(super) history: Vec<Change>,
}

#[derive(Serialize)]
pub(super) struct Failure {
    pub(super) seconds_ago: u64,
    pub(super) error: String,
}

#[derive(Serialize)]
pub(super) struct Change {
    pub(super) seconds_ago: u64,
    pub(super) up: bool,
}

#[derive(Serialize)]
pub(super) struct TaskStatus {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) starts: u64,
    pub(super) error: Option<String>,
}

/// A few seconds of traffic.
#[derive(Serialize)]
pub(super) struct Point {
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) errors: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) in_flight: f64,
    pub(super) cpu_cores: f64,
    pub(super) throttled: f64,
}

#[derive(Serialize)]
pub(super) struct RouteStatus {
    pub(super) route: String,
    pub(super) requests: u32,
    pub(super) requests_per_second: f64,
    /// The share of requests that was answered with a 5xx.
    pub(super) errors: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Bytes of its response bodies.
    pub(super) response_bytes: u64,
}

/// A line as it is in the log.
#[derive(Serialize)]
pub(super) struct LogLine {
    pub(super) level: &'static str,
    pub(super) line: String,
}

#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: String,
}

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    Json(Status::of(admin)).into_response()
}

// === impl Status ===

impl<'a> Status<'a> {
    pub(super) fn of(admin: &'a Admin) -> Self {
        let now = Snapshot::of(&admin.shared.metrics);
        let report = admin.shared.readiness.report();
        let (intervals, (routes_seconds, routes)) = {
            let samples = admin.page.samples();
            (samples.intervals(&now), samples.routes(&now))
        };
        let stalled = admin.shared.heartbeat.stalled();
        let stalled = stalled.map(|silent| silent.as_secs_f64());
        let checks: Vec<CheckStatus> = checks(&report);
        let tasks: Vec<TaskStatus> = tasks(admin);
        let routes: Vec<RouteStatus> = routes
            .into_iter()
            .map(|(route, requests)| RouteStatus::of(route, &requests, routes_seconds))
            .collect();
        Self {
            build: &admin.shared.build,
            up_seconds: admin.page.started.elapsed().as_secs(),
            state: report.status(),
            state_seconds: report.since.elapsed().as_secs(),
            stalled_seconds: stalled,
            findings: findings(stalled, &checks, &tasks, &routes),
            stop: stop(admin, &report, &now),
            checks,
            tasks,
            traffic: intervals.iter().map(Point::of).collect(),
            routes_seconds,
            routes,
            resources: resources::of(admin, &now, intervals.last()),
            log: log(admin),
            log_filter: admin.filter.to_json(),
            settings: settings(admin),
        }
    }
}

fn findings(
    stalled: Option<f64>,
    checks: &[CheckStatus],
    tasks: &[TaskStatus],
    routes: &[RouteStatus],
) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(seconds) = stalled {
        findings.push(format!("The runtime has run no task for {seconds:.0} s"));
    }
    for check in checks.iter().filter(|check| !check.up) {
        let CheckStatus { name, seconds, .. } = check;
        let error = check.error.as_deref().unwrap_or_default();
        findings.push(format!("Check {name} is down for {seconds} s: {error}"));
    }
    for task in tasks.iter().filter(|task| task.state == "pausing") {
        let error = task.error.as_deref().unwrap_or_default();
        findings.push(format!("Task {} has failed: {error}", task.name));
    }
    for route in routes {
        let name = &route.route;
        if route.errors >= MANY_ERRORS {
            let share = route.errors * 100.0;
            findings.push(format!(
                "{name} fails: {share:.0} % of {} requests",
                route.requests
            ));
        }
        if route.p99_ms > SLOW_SECONDS * 1e3 {
            findings.push(format!("{name} is slow: p99 of {:.0} ms", route.p99_ms));
        }
    }
    findings
}

fn checks(report: &ReadinessReport) -> Vec<CheckStatus> {
    let ago = |at: Instant| at.elapsed().as_secs();
    let checks = report.checks.iter().map(|(name, check)| CheckStatus {
        name: name.clone(),
        role: check.role,
        up: check.up,
        seconds: ago(check.since()),
        duration_ms: check.took.as_micros() as f64 / 1e3,
        error: check.error.clone(),
        failures: check.failures_total,
        last_failure: check.last_failure.as_ref().map(|(at, error)| Failure {
            seconds_ago: ago(*at),
            error: error.clone(),
        }),
        history: check
            .changes
            .iter()
            .map(|(at, up)| Change {
                seconds_ago: ago(*at),
                up: *up,
            })
            .collect(),
    });
    checks.collect()
}

fn tasks(admin: &Admin) -> Vec<TaskStatus> {
    let tasks = admin.shared.tasks.report();
    let tasks = tasks.into_iter().map(|task| TaskStatus {
        name: task.name,
        state: task.state.word(),
        starts: task.starts,
        error: task.error,
    });
    tasks.collect()
}

fn stop(admin: &Admin, report: &ReadinessReport, now: &Snapshot) -> Option<Stop> {
    let phase = match admin.shared.shutdown.phase() {
        Phase::Running => return None,
        Phase::Draining => "draining",
        Phase::Closing => "closing",
        Phase::Abort => "aborting",
    };
    let value = |name| now.value(name).unwrap_or_default();
    Some(Stop {
        phase,
        seconds: report.since.elapsed().as_secs(),
        deadline_seconds: admin.page.deadline.as_secs(),
        connections: value("http_server_connections"),
        requests: value("http_server_active_requests"),
        tasks: admin.shared.tasks.running(),
    })
}

fn log(admin: &Admin) -> Vec<LogLine> {
    let lines = admin.shared.logs.recent().into_iter();
    let lines = lines.map(|(level, line)| LogLine {
        level: level.as_str(),
        line: redact_secrets(&plain(line)).into_owned(),
    });
    lines.collect()
}

/// Removes the colours of a terminal from a text.
fn plain(line: String) -> String {
    if !line.contains('\u{1b}') {
        return line;
    }
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += part.split_once('m').map_or("", |(_, rest)| rest);
    }
    text
}

/// The settings, those that differ from the defaults first.
fn settings(admin: &Admin) -> Vec<Setting> {
    let effective = admin.effective();
    let mut settings = Vec::new();
    for default in [false, true] {
        for (key, value, origin) in effective.entries() {
            let is_default = origin == "default" || origin.starts_with("default: ");
            if is_default == default {
                settings.push(Setting {
                    key,
                    value: value.clone(),
                    origin: origin.to_owned(),
                });
            }
        }
    }
    settings
}

// === impl Point ===

impl Point {
    fn of(interval: &Interval) -> Self {
        let requests = &interval.requests;
        Self {
            seconds: interval.seconds,
            requests_per_second: f64::from(requests.total()) / interval.seconds,
            errors: share(requests),
            p50_ms: requests.quantile_ms(0.5),
            p99_ms: requests.quantile_ms(0.99),
            in_flight: interval.in_flight,
            cpu_cores: interval.cpu_cores,
            throttled: interval.throttled,
        }
    }
}

// === impl RouteStatus ===

impl RouteStatus {
    fn of(route: String, requests: &RequestCounts, seconds: f64) -> Self {
        let ms = |share| requests.quantile_ms(share).unwrap_or_default();
        Self {
            route,
            requests: requests.total(),
            requests_per_second: f64::from(requests.total()) / seconds.max(1.0),
            errors: share(requests),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            response_bytes: requests.bytes,
        }
    }
}

fn share(requests: &RequestCounts) -> f64 {
    f64::from(requests.errors) / f64::from(requests.total().max(1))
}
