//! [`Events`]: the numbers of a server, for metrics of any library.

/// Receives the events of a server. Every method does nothing by default, and `()` ignores all events.
///
/// The methods are called by the tasks of connections, so they have to return at once.
#[expect(unused_variables, reason = "a method ignores its event by default")]
pub trait Events: Send + Sync + 'static {
    /// A connection was accepted.
    fn connection_opened(&self) {}

    /// A connection was closed.
    fn connection_closed(&self) {}

    /// The maximum number of open connections is now `limit`.
    fn connections_limited(&self, limit: usize) {}

    /// A connection was closed to make room for another one.
    fn connection_evicted(&self) {}

    /// A connection could not be accepted.
    fn accept_failed(&self) {}

    /// A response was aborted, because its client had not read it for [`Settings::send_timeout`](crate::Settings).
    fn send_timed_out(&self) {}

    /// A connection had no valid request, for this reason: `malformed`, `head_too_large`, `http2`, `proxy_protocol`,
    /// `tls` or `no_http2`.
    fn refused(&self, reason: &'static str) {}

    /// The rest of a response begins (`true`) or ends (`false`) to wait for its client in the connection's buffer,
    /// although the body has ended.
    fn response_left(&self, is_left: bool) {}
}

impl Events for () {}
