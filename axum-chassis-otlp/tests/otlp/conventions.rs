//! Exported names, types and units, compared with OpenTelemetry's semantic conventions. The crate
//! `opentelemetry-semantic-conventions` is generated from one version of their schema. Without its feature for others, it
//! has the names that are stable.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use opentelemetry_semantic_conventions::{SCHEMA_URL, metric, resource, trace};
use prost::Message;

use crate::client::{Connection, get, request};
use crate::collector::{Answering, Received};
use crate::program::{Program, Setup};

/// The types of attribute values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
}

/// The attributes that the conventions define for the span of an HTTP server, without those that have to be asked for.
/// Two of them are never exported: `url.query` may contain secrets, and `network.peer.address` would be the address of
/// a proxy.
const SPAN: [(&str, Kind); 13] = [
    (trace::CLIENT_ADDRESS, Kind::Text),
    (trace::ERROR_TYPE, Kind::Text),
    (trace::HTTP_REQUEST_METHOD, Kind::Text),
    (trace::HTTP_REQUEST_METHOD_ORIGINAL, Kind::Text),
    (trace::HTTP_RESPONSE_STATUS_CODE, Kind::Int),
    (trace::HTTP_ROUTE, Kind::Text),
    (trace::NETWORK_PROTOCOL_NAME, Kind::Text),
    (trace::NETWORK_PROTOCOL_VERSION, Kind::Text),
    (trace::SERVER_ADDRESS, Kind::Text),
    (trace::SERVER_PORT, Kind::Int),
    (trace::URL_PATH, Kind::Text),
    (trace::URL_SCHEME, Kind::Text),
    (trace::USER_AGENT_ORIGINAL, Kind::Text),
];
/// The methods that the conventions list.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];
/// The bounds that the conventions advise for durations.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// A service that exports traces and metrics.
fn start(collector: &Answering) -> Program {
    Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .variable("OTEL_LOGS_EXPORTER", "none")
        .start()
}

fn stop(program: Program, collector: &Answering) -> Vec<Received> {
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    collector.received()
}

fn scopes(received: &[Received]) -> Vec<ScopeSpans> {
    let requests = received
        .iter()
        .filter(|request| request.path == "/v1/traces");
    let decoded = requests.map(|request| ExportTraceServiceRequest::decode(&request.body[..]));
    let resources = decoded.flat_map(|request| request.unwrap().resource_spans);
    resources.flat_map(|spans| spans.scope_spans).collect()
}

fn server_spans(received: &[Received]) -> Vec<Span> {
    let spans = scopes(received).into_iter().flat_map(|scope| scope.spans);
    spans
        .filter(|span| span.kind() == SpanKind::Server)
        .collect()
}

/// The last export of metrics.
fn metrics(received: &[Received]) -> ExportMetricsServiceRequest {
    let mut requests = received.iter().rev();
    let last = requests.find(|request| request.path == "/v1/metrics");
    ExportMetricsServiceRequest::decode(&last.expect("metrics").body[..]).unwrap()
}

/// The attributes as texts. Fails if a name or the type of its value is not in `allowed`.
fn checked(attributes: &[KeyValue], allowed: &[(&str, Kind)]) -> BTreeMap<String, String> {
    let check = |one: &KeyValue| {
        let (kind, text) = match one.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => (Kind::Text, text),
            Value::IntValue(number) => (Kind::Int, number.to_string()),
            other => panic!("{}: {other:?}", one.key),
        };
        assert!(allowed.contains(&(&*one.key, kind)), "{one:?}");
        (one.key.clone(), text)
    };
    let texts: BTreeMap<_, _> = attributes.iter().map(check).collect();
    assert_eq!(texts.len(), attributes.len(), "{attributes:?}");
    texts
}

#[test]
fn spans_of_requests_have_the_name_status_and_attributes_of_the_conventions() {
    let collector = Answering::start(&["200 OK"]);
    let program = start(&collector);
    let agent = [("user-agent", "tester/1.0")];
    request(program.main, "GET", "/number/7?secret=x", &agent, "");
    for path in ["/number/x", "/nowhere", "/fail", "/panic"] {
        get(program.main, path);
    }
    for method in METHODS.into_iter().chain(["BREW", "get"]) {
        // The response to CONNECT may have no body, which the client waits for.
        if method != "CONNECT" && method != "HEAD" {
            request(program.main, method, "/number/7", &[], "");
        }
    }
    let spans = server_spans(&stop(program, &collector));
    assert_eq!(spans.len(), 15, "{spans:#?}");
    for span in &spans {
        let found = checked(&span.attributes, &SPAN);
        let value = |name: &str| found.get(name).map(String::as_str);
        let method = value(trace::HTTP_REQUEST_METHOD).expect("required");
        assert!(value(trace::URL_PATH).is_some_and(|path| !path.contains('?')));
        assert_eq!(value(trace::URL_SCHEME), Some("http"));
        assert_eq!(value(trace::NETWORK_PROTOCOL_VERSION), Some("1.1"));
        assert_eq!(value(trace::NETWORK_PROTOCOL_NAME), None, "it is http");
        assert!(value(trace::CLIENT_ADDRESS).is_some(), "{found:?}");
        assert!(value(trace::SERVER_ADDRESS).is_some(), "{found:?}");

        let original = value(trace::HTTP_REQUEST_METHOD_ORIGINAL);
        let shown = match method {
            "_OTHER" => {
                let original = original.expect("required for an unknown method");
                assert!(!METHODS.contains(&original), "{original}");
                "HTTP"
            }
            known => {
                assert!(METHODS.contains(&known), "{known}");
                assert_eq!(original, None);
                known
            }
        };
        let name = match value(trace::HTTP_ROUTE) {
            Some(route) => format!("{shown} {route}"),
            None => shown.to_owned(),
        };
        assert_eq!(span.name, name);

        let status = value(trace::HTTP_RESPONSE_STATUS_CODE).expect("it was sent");
        let is_error = status.starts_with('5');
        let code = span.status.clone().unwrap_or_default().code();
        let expected = match is_error {
            true => (StatusCode::Error, Some(status)),
            false => (StatusCode::Unset, None),
        };
        assert_eq!((code, value(trace::ERROR_TYPE)), expected, "{found:?}");
    }
    let names: BTreeSet<_> = spans.iter().map(|span| &*span.name).collect();
    for name in ["QUERY /number/{number}", "HTTP /number/{number}", "GET"] {
        assert!(names.contains(name), "{names:?}");
    }
    let agents = spans.iter().flat_map(|span| &span.attributes);
    assert!(
        agents
            .into_iter()
            .any(|one| one.key == trace::USER_AGENT_ORIGINAL)
    );
}

#[test]
fn a_span_has_the_servers_name_and_port_that_the_client_used() {
    let collector = Answering::start(&["200 OK"]);
    let program = start(&collector);
    let cases = [
        ("/", "shop.example", "shop.example", None),
        ("/", "shop.example:8443", "shop.example", Some("8443")),
        ("/", "[::1]:80", "::1", Some("80")),
        // A request in absolute form, as for a proxy. In HTTP/2, the authority is in the URI too.
        (
            "http://shop.example:81/",
            "shop.example:81",
            "shop.example",
            Some("81"),
        ),
    ];
    for (target, host, ..) in cases {
        let mut connection = Connection::open(program.main).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200, "{host}");
    }
    let spans = server_spans(&stop(program, &collector));
    assert_eq!(spans.len(), cases.len(), "{spans:#?}");
    for (span, (target, host, address, port)) in spans.iter().zip(cases) {
        let found = checked(&span.attributes, &SPAN);
        let value = |name: &str| found.get(name).map(String::as_str);
        let exported = (value(trace::SERVER_ADDRESS), value(trace::SERVER_PORT));
        assert_eq!(exported, (Some(address), port), "{target} {host}");
    }
}

#[test]
fn metrics_have_a_name_of_the_conventions_or_that_of_the_scrape() {
    let collector = Answering::start(&["200 OK"]);
    let program = start(&collector);
    for path in ["/", "/nowhere", "/fail"] {
        get(program.main, path);
    }
    request(program.main, "QUERY", "/", &[], "");
    let scrape = get(program.admin, "/metrics").body;
    let export = metrics(&stop(program, &collector));
    let all = &export.resource_metrics[0].scope_metrics[0].metrics;
    let (conventional, own): (Vec<_>, Vec<_>) =
        all.iter().partition(|metric| metric.name.contains('.'));

    let names: Vec<_> = conventional.iter().map(|metric| &*metric.name).collect();
    assert_eq!(names, [metric::HTTP_SERVER_REQUEST_DURATION]);
    duration_follows_the_conventions(conventional[0]);

    assert!(own.len() > 20, "{}", own.len());
    for metric in own {
        let name = &metric.name;
        assert!(scrape.contains(&format!("# TYPE {name} ")), "{name}");
        let base = name.strip_suffix("_total").unwrap_or(name);
        let unit = match base {
            base if base.ends_with("_seconds") => "s",
            base if base.ends_with("_bytes") => "By",
            _ => "",
        };
        assert_eq!(metric.unit, unit, "{name}");
        let is_total = matches!(&metric.data, Some(Data::Sum(sum)) if sum.is_monotonic);
        assert_eq!(is_total, name.ends_with("_total"), "{name}");
    }
}

fn duration_follows_the_conventions(metric: &Metric) {
    const ATTRIBUTES: [(&str, Kind); 5] = [
        (trace::ERROR_TYPE, Kind::Text),
        (trace::HTTP_REQUEST_METHOD, Kind::Text),
        (trace::HTTP_RESPONSE_STATUS_CODE, Kind::Int),
        (trace::HTTP_ROUTE, Kind::Text),
        (trace::URL_SCHEME, Kind::Text),
    ];
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = &metric.data else {
        panic!("{metric:?}");
    };
    let mut methods = BTreeSet::new();
    for point in &histogram.data_points {
        let is_a_bound = |bound: &f64| point.explicit_bounds.contains(bound);
        assert!(BOUNDS.iter().all(is_a_bound), "{point:?}");
        let found = checked(&point.attributes, &ATTRIBUTES);
        let value = |name: &str| found.get(name).map(String::as_str);
        methods.insert(
            value(trace::HTTP_REQUEST_METHOD)
                .expect("required")
                .to_owned(),
        );
        assert_eq!(value(trace::URL_SCHEME), Some("http"));
        let status = value(trace::HTTP_RESPONSE_STATUS_CODE).expect("it was sent");
        assert_eq!(value(trace::HTTP_ROUTE).is_none(), status == "404");
        let error = status.starts_with('5').then_some(status);
        assert_eq!(value(trace::ERROR_TYPE), error, "{found:?}");
    }
    assert_eq!(methods, ["GET", "QUERY"].map(str::to_owned).into());
}

#[test]
fn the_schema_is_named_for_spans_of_requests_and_metrics_and_the_resource_has_its_names() {
    const RESOURCE: [(&str, Kind); 6] = [
        (resource::SERVICE_INSTANCE_ID, Kind::Text),
        (resource::SERVICE_NAME, Kind::Text),
        (resource::SERVICE_VERSION, Kind::Text),
        (resource::TELEMETRY_SDK_LANGUAGE, Kind::Text),
        (resource::TELEMETRY_SDK_NAME, Kind::Text),
        (resource::TELEMETRY_SDK_VERSION, Kind::Text),
    ];
    let collector = Answering::start(&["200 OK"]);
    let program = start(&collector);
    // Its handler has spans of its own.
    get(program.main, "/onward");
    let received = stop(program, &collector);
    let export = metrics(&received);
    let exported = &export.resource_metrics[0];
    assert_eq!(exported.scope_metrics[0].schema_url, SCHEMA_URL);
    let found = checked(&exported.resource.as_ref().unwrap().attributes, &RESOURCE);
    assert_eq!(found.len(), RESOURCE.len(), "{found:?}");
    let scopes = scopes(&received);
    assert!(scopes.len() > 1, "{scopes:#?}");
    for scope in scopes {
        for span in scope.spans {
            let schema = match span.kind() {
                SpanKind::Server => SCHEMA_URL,
                // Its attributes are those that the handler chose.
                _ => "",
            };
            assert_eq!(scope.schema_url, schema, "{}", span.name);
        }
    }
    // The pages name the version.
    let (_, version) = SCHEMA_URL.rsplit_once('/').unwrap();
    for page in [
        include_str!("../../../docs/traces.md"),
        include_str!("../../../docs/metrics.md"),
    ] {
        assert!(page.contains(version), "{version}");
    }
}
