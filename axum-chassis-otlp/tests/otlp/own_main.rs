//! The export in a program that keeps its own `main`: with a `Server`, and with the parts alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_chassis::logs::{self, Format};
use axum_chassis::metrics::Metrics;
use axum_chassis::request::RequestLayer;
use axum_chassis::{ChassisSettings, Error, Server, limits};
use axum_chassis_otlp::{MetricsExport, Traces};
use http::Request;
use serde_json::Value;
use tower::ServiceExt;

use crate::collector::{Answering, unused_address};

// --- the program ---

/// Answers one request, and ends.
#[test]
#[ignore = "a program that other tests run"]
fn program() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::process::exit(runtime.block_on(own_main()));
}

async fn own_main() -> i32 {
    let traces = match Traces::from_env("own", "1.2.3") {
        Ok(traces) => traces,
        Err(Error::Settings(wrong)) => {
            eprintln!("{wrong}");
            return 78;
        }
        Err(error) => panic!("{error}"),
    };
    let mut settings = logs::Settings::default();
    settings.format = Format::Json;
    let logs = logs::install_with_layer(&settings, traces.layer()).unwrap();
    let routes = Router::new().route("/", get(handler));
    if std::env::var_os("PARTS").is_some() {
        let metrics = Metrics::new();
        let export = MetricsExport::from_env("own", "1.2.3").unwrap();
        export.start(&metrics).unwrap();
        let layer = RequestLayer::new(&limits::Settings::default(), &logs, &metrics);
        let router = routes.layer(layer.unwrap().observe(traces.observer()));
        let request = Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), 200);
        traces.flush(Duration::from_secs(1)).await;
        export.flush(Duration::from_secs(1)).await;
    } else {
        let mut settings = ChassisSettings::default();
        settings.server.host = "127.0.0.1".to_owned();
        settings.server.port = 0;
        settings.shutdown.delay = Some(Duration::ZERO.into());
        let server = Server::new("own", "1.2.3").settings(settings).logs(&logs);
        let server = server.export(traces.clone()).bind().unwrap();
        let (chassis, address) = (server.chassis().clone(), server.address().unwrap());
        let metrics = chassis.metrics().clone();
        let client = async {
            while !chassis.readiness().is_started() {
                tokio::task::yield_now().await;
            }
            let client = tokio::task::spawn_blocking(move || request(address));
            assert!(client.await.unwrap().starts_with("HTTP/1.1 200 OK"));
            chassis.stop("one request was served");
        };
        let routes = routes.layer(server.request_layer());
        let (stopped, ()) = tokio::join!(server.serve(routes), client);
        assert!(stopped.unwrap().is_graceful());
        let counted = metrics
            .encode(None)
            .1
            .contains("trace_spans_exported_total");
        assert_eq!(counted, traces.is_on());
    }
    let counts = traces.counts();
    tracing::info!(
        on = traces.is_on(),
        exported = counts.exported,
        refused = counts.refused,
        "done"
    );
    assert!(logs.flush(Duration::from_secs(5)));
    0
}

fn request(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: own\r\nconnection: close\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tracing::instrument]
async fn handler() {
    tracing::info!("handled");
}

pub(crate) fn run(variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "own_main::program", "--ignored", "--nocapture"])
        .env("OTEL_METRICS_EXPORTER", "none")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The log of a run that has succeeded.
pub(crate) fn log(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines = stdout.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn message<'a>(log: &'a [Value], message: &str) -> &'a Value {
    let line = log.iter().find(|line| line["message"] == message);
    line.unwrap_or_else(|| panic!("no {message:?} in {log:#?}"))
}

// --- the tests ---

#[test]
fn remaining_spans_are_exported_before_the_exit_and_counted() {
    for parts in [&[][..], &[("PARTS", "yes")]] {
        let collector = Answering::start(&["200 OK"]);
        let endpoint = collector.endpoint();
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)], parts].concat();
        let log = log(&run(&variables));
        assert_eq!(collector.requests(), 1);
        let done = message(&log, "done");
        assert_eq!((&done["on"], &done["exported"]), (&true.into(), &2.into()));
        if parts.is_empty() {
            message(&log, "exporting traces");
        }
    }
}

#[test]
fn spans_for_an_unavailable_collector_are_dropped_and_logged() {
    let log = log(&run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &unused_address())]));
    assert_eq!(message(&log, "done")["refused"], 2);
    message(&log, "spans dropped: the export failed");
}

#[test]
fn without_an_endpoint_nothing_is_exported_and_the_rest_works() {
    let log = log(&run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
    assert_eq!(message(&log, "done")["on"], false);
    assert_eq!(message(&log, "request")["status"], 200);
    assert!(!log.iter().any(|line| line["message"] == "exporting traces"));
}

#[test]
fn all_errors_in_the_variables_are_one_error() {
    let output = run(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    for name in [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_TRACES_SAMPLER",
    ] {
        assert!(told.contains(name), "no {name} in {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}
