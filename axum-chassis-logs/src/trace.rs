//! Request IDs and W3C trace context of the current request.
//!
//! They are set while a handler runs: by the request layer of `axum-chassis`, or with [`scope`]. Log lines contain them, [`current`] returns
//! them, and [`inject`] adds them to a request to another service:
//!
//! ```
//! let mut request = http::Request::get("http://stock/items/7").body(())?;
//! axum_chassis_logs::trace::inject(request.headers_mut());
//! # Ok::<(), http::Error>(())
//! ```
//!
//! The IDs belong to the task that handles the request. A task that a handler spawns has no IDs, unless its future is
//! wrapped with [`scope`].

mod context;
mod digits;
mod request_id;

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::context::TraceContext;
pub(super) use self::digits::digits;
pub use self::request_id::RequestId;

/// The header of a request ID, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of a W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header for vendor-specific data of a trace context.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on. The standard requires at least 512 characters.
const MAX_TRACESTATE: usize = 4096;

tokio::task_local! {
    static CURRENT: Ids;
}

/// The IDs of the request that the current task is serving. Returns `None` outside of a request.
pub fn current() -> Option<Ids> {
    CURRENT.try_with(Ids::clone).ok()
}

/// Calls `read` with the current IDs, which avoids cloning them. Returns `None` outside of a request.
pub(super) fn with_current<R>(read: impl FnOnce(&Ids) -> R) -> Option<R> {
    CURRENT.try_with(read).ok()
}

/// Sets the headers of an outgoing request to the current IDs, as [`Ids::inject`] does.
///
/// Outside of a request, this function does nothing.
pub fn inject(headers: &mut HeaderMap) {
    with_current(|ids| ids.inject(headers));
}

/// Runs `future` with `ids` as the current IDs, for tasks that outlive their request.
#[inline]
pub fn scope<F: Future>(ids: Ids, future: F) -> Scoped<F> {
    CURRENT.scope(ids, future)
}

/// The future that [`scope`] returns.
pub type Scoped<F> = tokio::task::futures::TaskLocalFuture<Ids, F>;

/// The IDs of one request, for logs and for calls to other services.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ids {
    /// The caller's `x-request-id` if it is valid, otherwise a new one.
    pub request: RequestId,
    /// The trace the request belongs to, and this service's span in it.
    pub trace: TraceContext,
    /// The caller's `tracestate`. Boxed, because few requests have one.
    state: Option<Box<HeaderValue>>,
}

impl Ids {
    /// Reads the IDs from a request's headers. If an ID is missing or malformed, a new one is generated.
    ///
    /// If both are generated, the request ID and the trace ID are the same.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let (mut request, mut trace) = (None, None);
        // One pass over all headers: requests have few headers, so two look-ups would take longer.
        for (name, value) in headers {
            let is = |wanted: &HeaderName| {
                name.as_str().len() == wanted.as_str().len() && name == wanted
            };
            if request.is_none() && is(&REQUEST_ID) {
                request = Some(RequestId::from_header(value));
            } else if trace.is_none() && is(&TRACEPARENT) {
                trace = Some(TraceContext::parse(value.as_bytes()));
            }
        }
        let request = request.flatten();
        match trace.flatten() {
            Some(trace) => Self {
                request: request.unwrap_or_else(RequestId::random),
                trace,
                state: tracestate(headers).map(Box::new),
            },
            None => {
                let trace = TraceContext::random();
                Self {
                    request: request.unwrap_or(RequestId::of(&trace)),
                    trace,
                    // Without a valid `traceparent`, a `tracestate` is ignored, as the standard requires.
                    state: None,
                }
            }
        }
    }

    /// The caller's `tracestate`. `None` if the caller sent none, or no valid `traceparent`.
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.state.as_deref()
    }

    /// Calls `run` with these IDs as the current ones.
    pub fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), run)
    }

    /// Sets the headers `traceparent` and `x-request-id` of an outgoing request that belongs to this request, and
    /// `tracestate` as the caller sent it.
    pub fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request.header());
        if let Ok(value) = HeaderValue::try_from(self.trace.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, HeaderValue::clone(state)),
            None => headers.remove(TRACESTATE),
        };
    }
}

/// The caller's `tracestate`. If it was sent as several headers, they are joined.
fn tracestate(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    let joined = match values.next() {
        None => first.clone(),
        Some(_) => {
            let all = headers.get_all(TRACESTATE).iter();
            let all: Vec<_> = all.map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b","[..])).ok()?
        }
    };
    (1..=MAX_TRACESTATE)
        .contains(&joined.len())
        .then_some(joined)
}

/// The beginning of a text that a client sent, at most `longest` bytes, for log lines and spans. The text is shortened,
/// because Docker and CRI split log lines of more than 16 KiB.
pub(super) fn shortened(text: &str, longest: usize) -> &str {
    if text.len() <= longest {
        return text;
    }
    let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outgoing_request_gets_the_ids_and_no_state_of_another_trace() {
        let mut incoming = HeaderMap::new();
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        incoming.insert(TRACEPARENT, HeaderValue::from_static(caller));
        incoming.append(TRACESTATE, HeaderValue::from_static("a=1"));
        incoming.append(TRACESTATE, HeaderValue::from_static("b=2"));
        incoming.insert(REQUEST_ID, HeaderValue::from_static("abc"));
        let ids = Ids::from_headers(&incoming);

        let mut outgoing = HeaderMap::new();
        ids.inject(&mut outgoing);
        assert_eq!(outgoing[REQUEST_ID], "abc");
        assert_eq!(outgoing[TRACESTATE], "a=1,b=2");
        assert_eq!(outgoing[TRACEPARENT], ids.trace.traceparent());
        assert_eq!(
            outgoing[TRACEPARENT].as_bytes()[..36],
            caller.as_bytes()[..36]
        );
        assert_ne!(
            outgoing[TRACEPARENT].as_bytes()[36..52],
            caller.as_bytes()[36..52]
        );

        incoming.insert(
            TRACEPARENT,
            HeaderValue::from_static("00-no-traceparent-01"),
        );
        Ids::from_headers(&incoming).inject(&mut outgoing);
        assert!(!outgoing.contains_key(TRACESTATE));
    }

    #[tokio::test]
    async fn only_a_request_has_ids_to_inject() {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty());
        let ids = Ids::from_headers(&headers);
        scope(ids.clone(), async { inject(&mut headers) }).await;
        assert_eq!(headers[TRACEPARENT], ids.trace.traceparent());
    }

    #[test]
    fn a_request_without_ids_gets_one_value_for_both() {
        let ids = Ids::from_headers(&HeaderMap::new());
        assert_eq!(ids.request.as_str(), ids.trace.trace_id().to_string());
        assert_eq!(ids.request.header(), ids.request.as_str());
    }

    #[test]
    fn requests_of_one_trace_get_ids_of_their_own() {
        let mut headers = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
        let ids = [(); 2].map(|()| Ids::from_headers(&headers));
        assert_eq!(ids[0].trace.trace_id().to_string(), parent[3..35]);
        assert_ne!(ids[0].request, ids[1].request);
    }
}
