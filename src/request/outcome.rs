//! The outcome of a request as its client sees it: responses of the chassis itself, and error responses converted to
//! problems.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};

use super::in_flight::InFlight;
use crate::problem::{ErrorMap, Problem, Rendered};
use crate::trace::Ids;

/// A plain-text error body longer than this is a document, not a message.
const LONGEST_MESSAGE: u64 = 4096;

pub(super) fn panicked(ids: &Ids) -> Response {
    // The panic hook has logged and counted it.
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).render(Some(&ids.request))
}

pub(super) fn timed_out(in_flight: &InFlight) -> Response {
    let problem = match in_flight.is_arriving() {
        true => Problem::new(StatusCode::REQUEST_TIMEOUT)
            .detail("the request's body did not arrive in time"),
        false => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("the service did not answer in time")
        }
    };
    problem.render(Some(&in_flight.ids().request))
}

pub(super) fn no_room(in_flight: &InFlight) -> Response {
    let busy = "the service has no room for more of this request's body";
    Problem::unavailable(busy)
        .retry_after(Duration::from_secs(1))
        .render(Some(&in_flight.ids().request))
}

pub(super) fn without_body(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// Converts an error response (status 400 or more) to a problem: axum's own responses, and plain text that a handler
/// returns.
///
/// A body with another content type (JSON, HTML) stays unchanged. If the response is a problem already, it stays
/// unchanged too, unless the handler returned an error with `?` that the error map maps to another problem.
pub(super) fn shape(response: Response, ids: &Ids, error_map: &ErrorMap) -> Response {
    let status = response.status();
    if response.extensions().get::<Rendered>().is_some() {
        return error_map.answer(response, ids);
    }
    if !is_plain(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let message = message(body);
    let mut problem = Problem::new(status);
    if status.is_server_error() {
        // The text of a 5xx response may describe the service's internals, so it is logged and not sent.
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

/// The text of a body, if the body is in memory.
fn message(mut body: Body) -> Option<String> {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) else {
        return None;
    };
    let data: Bytes = frame.into_data().ok()?;
    let text = String::from_utf8_lossy(&data);
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
