//! Replaces `tls.rs` in builds without the feature `tls`.

use std::io;

use tokio::net::TcpStream;

use crate::reader::Variable;

/// A value of this type does not exist.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoTls {}

impl NoTls {
    pub(crate) const IS_SUPPORTED: bool = false;

    /// Not called, because an `https://` endpoint has been rejected before.
    pub(crate) fn new(
        _authority: Option<&Variable>,
        _client: Option<(&Variable, &Variable)>,
    ) -> Result<Self, String> {
        Err("the feature `tls` of axum-chassis-otlp is not enabled".to_owned())
    }

    pub(crate) async fn connect(&self, _host: &str, _stream: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}
