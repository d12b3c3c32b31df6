//! Counts the requests that hyper rejects, and logs them with a rate limit.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::causes::causes;
use crate::events::Events;
use crate::rate_limit::RateLimit;

/// At most one line is logged in this time. The next line contains the number of rejections in between.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// The reason why a request cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    Malformed,
    HeadTooLarge,
    Http2,
    ProxyProtocol,
    Tls,
    NoHttp2,
}

impl RefusalKind {
    /// The protocol of a connection's first bytes, if it is not HTTP.
    pub(super) fn of_first_bytes(first: &[u8]) -> Option<Self> {
        const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        // A handshake record of any version of TLS.
        const CLIENT_HELLO: [u8; 2] = [22, 3];
        if first.starts_with(b"PROXY ") || first.starts_with(VERSION_2) {
            Some(Self::ProxyProtocol)
        } else {
            first.starts_with(&CLIENT_HELLO).then_some(Self::Tls)
        }
    }

    /// The kind of an error of hyper. `None` if the client has only closed the connection.
    pub(super) fn of_error(error: &(dyn Error + 'static)) -> Option<Self> {
        let kind = causes(error).find_map(|error| {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                // An error that the client has sent is not counted.
                return Some((error.is_library() && !error.is_io()).then_some(Self::Http2));
            }
            match error.downcast_ref::<hyper::Error>()? {
                error if error.is_parse_too_large() => Some(Some(Self::HeadTooLarge)),
                error if error.is_parse() => Some(Some(Self::Malformed)),
                _ => None,
            }
        });
        kind.flatten()
    }

    fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::Http2 => "http2",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Tls => "tls",
            Self::NoHttp2 => "no_http2",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "the request is not valid HTTP",
            Self::HeadTooLarge => {
                "the request has more headers than server.max_headers, or more than 63 KiB of them"
            }
            Self::Http2 => "the client breaks the rules of HTTP/2",
            Self::ProxyProtocol => {
                "the proxy in front sends the PROXY protocol, which this service does not read: turn it off there \
                 (HAProxy: send-proxy; a load balancer: proxy protocol) and let it write X-Forwarded-For"
            }
            Self::NoHttp2 => "the admin port serves HTTP/1.1 only",
            Self::Tls => {
                "the client speaks TLS to a port that serves plain HTTP: have it use http://, or end TLS in front"
            }
        }
    }
}

/// Counts and logs rejected requests.
pub(super) struct Refusals {
    events: Arc<dyn Events>,
    log_limit: RateLimit,
}

impl Refusals {
    pub(super) fn new(events: Arc<dyn Events>) -> Self {
        Self {
            events,
            log_limit: RateLimit::new(LOG_PERIOD),
        }
    }

    /// Counts a rejection, and logs it unless another one was logged in the last ten seconds.
    pub(super) fn note(
        &self,
        kind: RefusalKind,
        peer: SocketAddr,
        error: Option<&(dyn Error + 'static)>,
    ) {
        self.events.refused(kind.label());
        let Some(others) = self.log_limit.admit() else {
            return;
        };
        tracing::warn!(
            client = %peer.ip(),
            reason = kind.label(),
            error = error.map(|error| tracing::field::display(line(error))),
            others,
            "request refused: {}",
            kind.remedy()
        );
    }
}

/// An error and its causes in one line.
fn line(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    causes.join(": ")
}
