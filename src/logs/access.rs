//! The access line: one for each request.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::Method;

use super::line::{Line, Style};
use super::write;
use crate::trace::{self, Ids};

/// The fields of an access log line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessLine<'a> {
    /// The end of the response.
    pub(crate) ended: Instant,
    /// The request's method.
    pub(crate) method: &'a Method,
    /// The pattern of the route that answered.
    pub(crate) route: &'a str,
    /// The requested path, without its query.
    pub(crate) path: &'a str,
    /// The status that was answered.
    pub(crate) status: u16,
    /// From the head of the request to the end of the response.
    pub(crate) duration: Duration,
    /// Bytes of the request's body that were read.
    pub(crate) request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub(crate) response_bytes: u64,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    /// The ids of the request.
    pub(crate) ids: &'a Ids,
    /// The error, if there was one.
    pub(crate) error: Option<&'a str>,
}

impl AccessLine<'_> {
    /// The line, without the IDs.
    pub(super) fn line(&self, style: Style) -> Line {
        let mut line = Line::access(style, self.ended);
        write::plain(
            line.known(b",\"method\":"),
            trace::shortened(self.method.as_str(), 32).as_bytes(),
        );
        write::string(line.known(b",\"route\":"), self.route);
        write::string(line.known(b",\"path\":"), self.path);
        write::integer(line.known(b",\"status\":"), self.status);
        write::milliseconds(line.known(b",\"duration_ms\":"), self.duration);
        write::integer(line.known(b",\"request_bytes\":"), self.request_bytes);
        write::integer(line.known(b",\"response_bytes\":"), self.response_bytes);
        if let Some(client) = self.client {
            write::address(line.known(b",\"client\":"), client);
        }
        if let Some(error) = self.error {
            write::string(line.known(b",\"error\":"), error);
        }
        line
    }
}
