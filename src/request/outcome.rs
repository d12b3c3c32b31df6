//! How a request ended, decided once: counted, logged and shaped from here.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, header};

use super::body::Arrival;
use super::{Endpoint, Shared};
use crate::logs::AccessLine;
use crate::metrics::http::{Route, UNMATCHED};
use crate::otlp::{Ended, Span};
use crate::problem::{Meanings, Problem, Rendered};
use crate::trace::Ids;

/// A plain-text error body longer than this is a document, not a message.
const LONGEST_MESSAGE: u64 = 4096;

/// A request under way. Dropped before its end, the client has gone away.
pub(super) struct Record {
    endpoint: Arc<Endpoint>,
    /// The route, where it is not the one that the endpoint knows.
    route: Option<Arc<Route>>,
    admitted: bool,
    ids: Ids,
    span: Span,
    method: Method,
    path: Option<PathAndQuery>,
    client: Option<SocketAddr>,
    begun: Instant,
    received: u64,
    sent: u64,
    error: Option<Box<str>>,
    ended: bool,
}

impl Record {
    pub(super) fn begin(endpoint: Arc<Endpoint>, request: &Request, ids: Ids, span: Span) -> Self {
        let Shared { http, limits, .. } = &*endpoint.shared;
        let admitted = limits.admit(http.active_requests.enter());
        if !admitted {
            http.requests_shed.inc();
        }
        Self {
            route: endpoint.other_route(request),
            admitted,
            ids,
            span,
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            client: request
                .extensions()
                .get()
                .map(|ConnectInfo(client)| *client),
            begun: Instant::now(),
            received: request.body().size_hint().lower(),
            sent: 0,
            error: None,
            ended: false,
            endpoint,
        }
    }

    pub(super) fn admitted(&self) -> bool {
        self.admitted
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    pub(super) fn shape(&self, response: Response) -> Response {
        shape(response, &self.ids, &self.endpoint.shared.meanings)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.endpoint.shared.is_draining()
    }

    /// When the handler has to have answered.
    pub(super) fn deadline(&self) -> Option<tokio::time::Instant> {
        let deadline = self
            .begun
            .checked_add(self.endpoint.shared.limits.request_timeout()?)?;
        Some(deadline.into())
    }

    /// Notes how much of the body has gone out.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent = bytes;
    }

    /// Notes why the body ended early.
    pub(super) fn fail(&mut self, error: &axum::Error) {
        self.error = Some(crate::error::Chain(error).to_string().into());
    }

    /// The request is over.
    pub(super) fn end(mut self, status: StatusCode, sent: u64) {
        self.sent = sent;
        self.settle(status);
    }

    fn settle(&mut self, status: StatusCode) {
        self.ended = true;
        let ended = Instant::now();
        let duration = ended.saturating_duration_since(self.begun);
        let Endpoint { shared, route } = &*self.endpoint;
        let Shared { http, logs, .. } = &**shared;
        http.active_requests.leave();
        // Most requests have no body, and a shared counter is not free.
        if self.received > 0 {
            http.request_bytes.inc_by(self.received);
        }
        http.response_bytes.inc_by(self.sent);
        let known = || route.get_or_init(|| http.route(UNMATCHED));
        let route = self.route.as_ref().unwrap_or_else(known);
        route.observe(&self.method, status, duration);
        let route = route.pattern();
        self.span.end(&Ended {
            ids: &self.ids,
            method: &self.method,
            route: (route != UNMATCHED).then_some(route),
            path: self.path.as_ref().map_or("", PathAndQuery::path),
            status,
            duration,
            client: self.client,
            error: self.error.as_deref(),
        });
        logs.access(&AccessLine {
            ended,
            method: &self.method,
            route,
            path: self.path.as_ref().map_or("", PathAndQuery::path),
            status: status.as_u16(),
            duration,
            request_bytes: self.received,
            response_bytes: self.sent,
            client: self.client,
            ids: &self.ids,
            error: self.error.as_deref(),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let status = if self.endpoint.shared.is_cut() {
            self.error = Some("cut at the shutdown deadline".into());
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            client_gone()
        };
        self.settle(status);
    }
}

/// 499, nginx's word for a client that went away before its answer was complete.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

pub(super) fn panicked(ids: &Ids) -> Response {
    // The panic hook has logged and counted it.
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).render(Some(&ids.request))
}

pub(super) fn timed_out(ids: &Ids, arrival: Option<&Arrival>) -> Response {
    let problem = match arrival {
        Some(arrival) if !arrival.is_complete() => Problem::new(StatusCode::REQUEST_TIMEOUT)
            .detail("the request's body did not arrive in time"),
        _ => Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("the service did not answer in time"),
    };
    problem.render(Some(&ids.request))
}

/// Makes a problem of an error response that is not one: axum's own, or a handler's plain text.
///
/// A body that says what it is (JSON, HTML) stays as the service made it. A problem that an error
/// became by `?` gets the status that the error means.
fn shape(response: Response, ids: &Ids, meanings: &Meanings) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if response.extensions().get::<Rendered>().is_some() {
        return meanings.answer(response, ids);
    }
    if !is_plain(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let message = message(body);
    let mut problem = Problem::new(status);
    if status.is_server_error() {
        // A 5xx text is about the inside of the service: for its log, not for its clients.
        if let Some(message) = message {
            problem = problem.cause(anyhow::Error::msg(message));
        }
    } else if let Some(message) = message {
        problem = problem.detail(message);
    }
    let (rendered, body) = problem.render(Some(&ids.request)).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(rendered.headers);
    Response::from_parts(parts, body)
}

fn is_plain(response: &Response) -> bool {
    let small = response
        .body()
        .size_hint()
        .upper()
        .is_some_and(|size| size <= LONGEST_MESSAGE);
    let text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    small && text
}

/// The text of a body that is in memory already.
fn message(mut body: Body) -> Option<String> {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) else {
        return None;
    };
    let data: Bytes = frame.into_data().ok()?;
    let text = String::from_utf8_lossy(&data);
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
