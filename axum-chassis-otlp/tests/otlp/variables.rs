//! OpenTelemetry's environment variables at the start.

use std::collections::BTreeMap;
use std::io::Read;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::client::{get, request};
use crate::collector::{Answering, Hanging, exporting};
use crate::program::{Setup, eventually};

#[test]
fn without_an_endpoint_nothing_is_exported_or_logged() {
    let program = Setup::default()
        // Not looked at, as nothing is exported.
        .variable("OTEL_TRACES_SAMPLER", "nonsense")
        .start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let onward = request(
        program.main,
        "GET",
        "/onward",
        &[("traceparent", parent)],
        "",
    )
    .json();
    // The caller's decision is passed on all the same.
    assert!(onward["traceparent"].as_str().unwrap().ends_with("-01"));
    let scrape = get(program.admin, "/metrics").body;
    assert!(!scrape.contains("trace_spans"), "{scrape}");
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    let said = log.iter().find(|line| {
        line["message"] == "exporting traces" || line["level"] == "WARN" || line["level"] == "ERROR"
    });
    assert_eq!(said, None);
}

#[test]
fn an_export_can_be_switched_off_by_the_standards_variables() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ] {
        let collector = Hanging::start();
        let program = exporting(&collector.endpoint())
            .variable(name, value)
            .start();
        get(program.main, "/");
        let (code, log) = program.stop();
        assert_eq!(code, Some(0), "{log:#?}");
        assert!(!collector.is_asked(), "{name}");
    }
}

#[test]
fn requests_have_the_path_the_headers_and_the_compression_of_the_variables() {
    let collector = Answering::start(&["200 OK"]);
    let program = exporting(&format!("{}/otlp/", collector.endpoint()))
        .variable(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20a%2Cb,x-tenant=t1",
        )
        .variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .start();
    get(program.main, "/");
    eventually("it is exported", || {
        program.metric("trace_spans_exported_total") == 1.0
    });
    program.stop();
    let [request] = &collector.received()[..] else {
        panic!("one request");
    };
    assert_eq!(request.path, "/otlp/v1/traces");
    for (name, value) in [
        ("authorization", "Bearer a,b"),
        ("x-tenant", "t1"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(request.headers[name], value);
    }
    let mut body = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&request.body[..]);
    decoder.read_to_end(&mut body).unwrap();
    let export = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    assert_eq!(export.resource_spans[0].scope_spans[0].spans.len(), 1);
}

#[test]
fn the_sampler_decides_which_traces_are_exported() {
    for (sampler, argument, exported) in [
        ("traceidratio", "0", 0),
        ("traceidratio", "1", 4),
        ("traceidratio", "", 4),
        ("always_off", "1", 0),
        // The callers of two requests have decided.
        ("parentbased_always_off", "", 1),
        ("parentbased_traceidratio", "0", 1),
        ("parentbased_always_on", "0", 3),
    ] {
        let collector = Answering::start(&["200 OK"]);
        let program = exporting(&collector.endpoint())
            .variable("OTEL_TRACES_SAMPLER", sampler)
            .variable("OTEL_TRACES_SAMPLER_ARG", argument)
            .start();
        let parent =
            |flags| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        for headers in [
            &[][..],
            &[],
            &[("traceparent", &*parent("01"))],
            &[("traceparent", &*parent("00"))],
        ] {
            request(program.main, "GET", "/", headers, "");
        }
        let (code, log) = program.stop();
        assert_eq!(code, Some(0), "{log:#?}");
        let spans: usize = collector
            .received()
            .iter()
            .map(|request| {
                let export = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
                export.resource_spans[0].scope_spans[0].spans.len()
            })
            .sum();
        assert_eq!(spans, exported, "{sampler} {argument}");
    }
}

#[test]
fn an_invalid_variable_is_named_with_its_value_and_a_valid_one() {
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let cases = [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "expected `http/protobuf`",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/json",
            "expected `http/protobuf`",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            "expected `gzip` or `none`",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "expected a whole number",
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "zipkin",
            "expected `otlp` or `none`",
        ),
        ("OTEL_TRACES_SAMPLER", "sometimes", "`parentbased_`"),
        (
            "OTEL_TRACES_SAMPLER",
            "parentbased_jaeger_remote",
            "`parentbased_`",
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "0",
            "expected a whole number from 1",
        ),
        (
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            "4096",
            "no more than OTEL_BSP_MAX_QUEUE_SIZE, 2048",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%", "percent-encoded"),
        (endpoint, "collector:4318", "http://"),
        (endpoint, "not a url", "a URL such as"),
        (endpoint, "ftp://collector:4318", "http:// or https://"),
        (endpoint, "http://collector:43180000", "a URL such as"),
    ];
    for (name, value, expected) in cases {
        let said = exporting("http://127.0.0.1:1")
            .variable(name, value)
            .run("--check-config");
        assert_eq!(said.code, Some(78), "{name}={value}: {}", said.stderr);
        let line = said.stderr.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", said.stderr));
        assert!(line.contains(expected) && line.contains(value), "{line}");
    }
}

#[test]
fn all_errors_are_reported_at_once_without_secrets() {
    let wrong: BTreeMap<_, _> = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:hunter2@collector:4318",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("APP__SERVER__PORT", "hunter"),
    ]
    .into();
    let setup = wrong.iter().fold(Setup::default(), |setup, (name, value)| {
        setup.variable(name, value)
    });
    let said = setup.run("");
    assert_eq!(said.code, Some(78), "{}", said.stderr);
    for name in wrong.keys().filter(|name| **name != "OTEL_TRACES_SAMPLER") {
        assert!(said.stderr.contains(name), "{name}: {}", said.stderr);
    }
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
}

#[test]
fn a_secret_in_an_invalid_variable_is_not_repeated() {
    let (endpoint, headers) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS");
    for (name, value, expected) in [
        // "hunter2" in base64 ends with `==`.
        (
            headers,
            "Authorization: Basic aHVudGVyMg==",
            "header 1 of the list",
        ),
        (headers, "a=b,aHVudGVyMg", "header 2 of the list"),
        (headers, "x-key=aHVudGVyMg%zz", "the value of \"x-key\""),
        (
            endpoint,
            "me:hunter2@collector:4318",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            endpoint,
            "http://me:hunt^er2@collector",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            endpoint,
            "http://me:hunt/er2@collector",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
    ] {
        let said = exporting("http://127.0.0.1:1")
            .variable(name, value)
            .run("--check-config");
        assert_eq!(said.code, Some(78), "{value}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{value}: {}", said.stderr);
        for secret in ["aHVudGVyMg", "hunt"] {
            assert!(!said.stderr.contains(secret), "{}", said.stderr);
        }
    }
}
