//! The record of a finished request, for its access line, its metrics and its observers.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::trace::{Ids, shortened};

/// The route of a request that no route matched.
const UNMATCHED: &str = "unmatched";
/// The longest path, in bytes.
const LONGEST_PATH: usize = 2048;

/// A request that has ended: the data for its access line, its metrics and its observers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FinishedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The pattern of the route, such as `/orders/{id}`, or `unmatched`. The number of patterns is bounded, so a metric may
    /// have it as a label.
    pub route: &'a str,
    /// The path as the client sent it, shortened to 2 KiB. The query is left out, because it may contain secrets.
    pub path: &'a str,
    /// The status of the response. If the client disconnected before the end of the response, 499; if the shutdown
    /// aborted the request, 503; if the response's body failed, 500.
    pub status: StatusCode,
    /// The time from the head of the request to the end of the response.
    pub duration: Duration,
    /// The moment at which the response ended.
    pub ended: Instant,
    /// The number of bytes of the request's body that were read.
    pub request_bytes: u64,
    /// The number of bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// The client's address, if it is known.
    pub client: Option<IpAddr>,
    /// The IDs of the request and of its trace.
    pub ids: &'a Ids,
    /// The error that ended the response early. A client that disconnects is not an error.
    pub error: Option<&'a str>,
}

impl<'a> FinishedRequest<'a> {
    /// The record of a request whose response has just ended, without a body, a client and an error, of the route `unmatched`. Set the
    /// other fields afterwards.
    #[inline]
    pub fn new(
        ids: &'a Ids,
        method: &'a Method,
        path: &'a str,
        status: StatusCode,
        begun: Instant,
    ) -> Self {
        let ended = Instant::now();
        Self {
            method,
            route: UNMATCHED,
            path: shortened(path, LONGEST_PATH),
            status,
            duration: ended.saturating_duration_since(begun),
            ended,
            request_bytes: 0,
            response_bytes: 0,
            client: None,
            ids,
            error: None,
        }
    }
}
