//! Exporters of telemetry: their configuration, their `tracing` layer, and their last export.

use std::time::Duration;

use axum_chassis::logs::AccessFields;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use axum_chassis::settings::SettingsSchema;
use axum_chassis::{Chassis, Error, Exporter, Service};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer};

use crate::client::{get, request};
use crate::program::Setup;

// --- the exporter ---

/// Adds an exporter that prints to standard error, as the variable `EXPORTER` has it.
pub(crate) fn extended<S: SettingsSchema>(service: Service<S>) -> Service<S> {
    match std::env::var("EXPORTER") {
        Ok(_) => service.export(Printer::from_env),
        Err(_) => service,
    }
}

struct Printer {
    is_on: bool,
}

impl Printer {
    fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        eprintln!("exporter of {name} {version}");
        match std::env::var("EXPORTER").unwrap().as_str() {
            "on" => Ok(Self { is_on: true }),
            "off" => Ok(Self { is_on: false }),
            other => Err(Error::Settings(
                format!("environment variable EXPORTER: invalid value {other:?}").into(),
            )),
        }
    }
}

impl Exporter for Printer {
    fn is_on(&self) -> bool {
        self.is_on
    }

    fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        Box::new(SpanNames)
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        eprintln!("attached");
        chassis.observe(Sampler);
        chassis.metrics().counter("exports_total", "Exports.")?;
        Ok(())
    }

    async fn flush(&self, within: Duration) {
        eprintln!("flushes within {within:?}");
        std::future::pending().await
    }
}

struct SpanNames;

impl<S: Subscriber> Layer<S> for SpanNames {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        eprintln!("span: {}", span.metadata().name());
    }
}

/// Samples every trace.
struct Sampler;

impl RequestObserver for Sampler {
    type State = ();

    fn begin(&self, request: &mut RequestHead<'_>) {
        request.set_sampled(true);
        assert!(request.ids().trace.is_sampled());
    }

    fn end(&self, (): (), request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
        fields.boolean("sampled", request.ids.trace.is_sampled());
    }
}

// --- the tests ---

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn an_exporter_is_attached_before_the_start_and_flushed_after_the_hooks() {
    let program = Setup::default()
        .variable("EXPORTER", "on")
        .set("subject.hooks", "fine")
        .set("shutdown.hook_timeout", "200ms")
        .start();
    assert_eq!(get(program.main, "/").status, 200);
    let metrics = get(program.admin, "/metrics").body;
    assert!(metrics.contains("exports_total 0"), "{metrics}");
    let ended = program.process.stop();
    // The exporter never ends, and that is not the service's failure.
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.message("hook runs");
    let told = ended.stderr;
    let at = |line: &str| {
        told.find(line)
            .unwrap_or_else(|| panic!("no {line} in {told}"))
    };
    assert!(at("exporter of subject 1.2.3") < at("attached"));
    assert!(at("attached") < at("flushes within 200ms"));
}

#[test]
fn a_layer_of_an_exporter_has_the_filter_of_the_log() {
    // With another layer, which has a filter of its own, and without.
    for other in [None, Some("trace")] {
        for (filter, is_exported) in [("info", true), ("info,service::program=warn", false)] {
            let setup = Setup::default()
                .variable("EXPORTER", "on")
                .set("shutdown.hook_timeout", "10ms")
                .set("logs.filter", filter);
            let setup = match other {
                Some(other) => setup.variable("OTHER", other),
                None => setup,
            };
            let program = setup.start();
            assert_eq!(get(program.main, "/onward").status, 200);
            let told = program.process.stop().stderr;
            let case = format!("{filter}, {other:?}: {told}");
            assert_eq!(told.contains("span: onward"), is_exported, "{case}");
            assert!(!told.contains("span: levels"), "{case}");
        }
    }
}

#[test]
fn an_observers_decision_about_the_trace_is_passed_on_and_logged() {
    let program = Setup::default()
        .variable("EXPORTER", "on")
        .set("shutdown.hook_timeout", "10ms")
        .start();
    let onward = request(
        program.main,
        "GET",
        "/onward",
        &[("traceparent", PARENT)],
        "",
    );
    let parent = onward.json()["traceparent"].as_str().unwrap().to_owned();
    assert!(parent.starts_with(&PARENT[..36]) && parent.ends_with("-01"));
    let (_, log) = program.stop();
    let line = log.iter().find(|line| line["path"] == "/onward").unwrap();
    assert_eq!(line["sampled"], true);
}

#[test]
fn an_invalid_exporter_is_reported_with_all_other_errors() {
    for arguments in ["", "--check-config", "migrate"] {
        let ended = Setup::default()
            .variable("EXPORTER", "sometimes")
            .variable("APP__SERVER__PORT", "none")
            .run(arguments);
        assert_eq!(ended.code, Some(78), "{arguments}: {ended:?}");
        for key in ["server.port", "EXPORTER: invalid value \"sometimes\""] {
            assert!(ended.stderr.contains(key), "{arguments}: {}", ended.stderr);
        }
    }
}

#[test]
fn an_exporter_that_is_off_is_neither_attached_nor_flushed() {
    let program = Setup::default().variable("EXPORTER", "off").start();
    assert_eq!(get(program.main, "/onward").status, 200);
    let ended = program.process.stop();
    assert_eq!(ended.code, Some(0));
    for word in ["attached", "flushes", "span: "] {
        assert!(!ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}

#[test]
fn a_command_exports_as_well() {
    let ended = Setup::default()
        .variable("EXPORTER", "on")
        .set("shutdown.hook_timeout", "10ms")
        .run("migrate");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["attached", "flushes within 10ms"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}
