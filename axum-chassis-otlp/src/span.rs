//! The span of a request, with OpenTelemetry's semantic conventions for HTTP servers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use axum_chassis::logs::AccessFields;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use http::uri::Authority;
use http::{HeaderValue, Method, Version, header};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};

use crate::exporting::Exporting;
use crate::parent::span_context;
use crate::text::shortened;

/// The route of a request that no route matched.
const UNMATCHED: &str = "unmatched";

/// Exports a span for each request of a sampled trace.
pub(crate) struct RequestSpans(pub(crate) Option<Arc<Exporting>>);

/// Data from the start of the request that is no longer available at its end.
pub(crate) struct RecordedSpan {
    exporting: Arc<Exporting>,
    version: Version,
    host: Option<Host>,
    user_agent: Option<HeaderValue>,
}

/// The server's name as the client wrote it.
enum Host {
    /// From the URI, as in HTTP/2.
    Authority(Authority),
    /// From the header `Host`.
    Header(HeaderValue),
}

impl RequestObserver for RequestSpans {
    type State = Option<RecordedSpan>;

    /// Decides whether the trace is exported. The decision applies to all spans of the trace, also in the services that
    /// this service calls.
    fn begin(&self, request: &mut RequestHead<'_>) -> Self::State {
        let exporting = self.0.as_ref()?;
        let sampled = exporting.samples(&request.ids().trace);
        request.set_sampled(sampled);
        sampled.then(|| RecordedSpan {
            exporting: exporting.clone(),
            version: request.version(),
            host: Host::of(request),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
        })
    }

    fn end(&self, begun: Self::State, ended: &FinishedRequest<'_>, _: &mut AccessFields<'_>) {
        if let Some(begun) = begun {
            begun.exporting.queue.on_end(begun.data(ended));
        }
    }
}

impl RecordedSpan {
    fn data(&self, ended: &FinishedRequest<'_>) -> SpanData {
        let (_, _, parent) = ended.ids.trace.as_numbers();
        let end_time = SystemTime::now();
        let known = known(ended.method);
        let failed = ended.status.is_server_error();
        SpanData {
            span_context: span_context(ended.ids),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Server,
            name: match (known.unwrap_or("HTTP"), matched(ended)) {
                (method, Some(route)) => Cow::Owned(format!("{method} {route}")),
                (method, None) => Cow::Borrowed(method),
            },
            start_time: end_time.checked_sub(ended.duration).unwrap_or(end_time),
            end_time,
            attributes: self.attributes(ended, known),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match failed {
                true => Status::error(ended.error.unwrap_or_default().to_owned()),
                false => Status::Unset,
            },
            instrumentation_scope: self.exporting.scope.clone(),
        }
    }

    fn attributes(
        &self,
        ended: &FinishedRequest<'_>,
        method: Option<&'static str>,
    ) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(12);
        let mut add = |key, value: Value| attributes.push(KeyValue::new(key, value));
        add("http.request.method", method.unwrap_or("_OTHER").into());
        if method.is_none() {
            let original = shortened(ended.method.as_str(), 32).to_owned();
            add("http.request.method_original", original.into());
        }
        if let Some(route) = matched(ended) {
            add("http.route", route.to_owned().into());
        }
        add("url.path", ended.path.to_owned().into());
        // TLS is terminated by a proxy before requests reach this service.
        add("url.scheme", "http".into());
        let status = ended.status.as_u16();
        add("http.response.status_code", i64::from(status).into());
        if ended.status.is_server_error() {
            add("error.type", status.to_string().into());
        }
        if let Some(authority) = self.host.as_ref().and_then(Host::authority) {
            let host = authority.host();
            let name = host.trim_start_matches('[').trim_end_matches(']');
            add("server.address", shortened(name, 255).to_owned().into());
            if let Some(port) = authority.port_u16() {
                add("server.port", i64::from(port).into());
            }
        }
        if let Some(client) = ended.client {
            add("client.address", client.to_canonical().to_string().into());
        }
        if let Some(version) = version(self.version) {
            add("network.protocol.version", version.into());
        }
        let agent = self.user_agent.as_ref();
        if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
            let agent = shortened(agent, 512).to_owned();
            add("user_agent.original", agent.into());
        }
        attributes
    }
}

impl Host {
    fn of(request: &RequestHead<'_>) -> Option<Self> {
        let authority = request.uri().authority().cloned().map(Self::Authority);
        let header = || request.headers().get(header::HOST).cloned();
        authority.or_else(|| header().map(Self::Header))
    }

    /// The name with the port. `None` if the client sent something else.
    fn authority(&self) -> Option<Cow<'_, Authority>> {
        match self {
            Self::Authority(authority) => Some(Cow::Borrowed(authority)),
            Self::Header(host) => Authority::try_from(host.as_bytes()).ok().map(Cow::Owned),
        }
    }
}

/// The route. `None` if no route matched, because the conventions then leave the attribute out.
fn matched<'a>(ended: &FinishedRequest<'a>) -> Option<&'a str> {
    (ended.route != UNMATCHED).then_some(ended.route)
}

/// The method, if it is one that the conventions list. Clients can send any number of other methods.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
