//! The settings of the main listener.

use std::path::PathBuf;

use axum_chassis_settings::{Duration, Network, Validate, ValidationErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client_ip::{AcceptIds, ForwardedHeader, Proxies};

/// hyper's default maximum number of headers. hyper has a table of this size on the stack; for any other maximum, it
/// allocates a table for each request.
pub(super) const HYPERS_HEADERS: usize = 100;

/// `[server]`: the main listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The path of a Unix socket to listen on, in place of `host` and `port`, for a proxy on the same machine.
    pub unix_socket: Option<PathBuf>,
    /// The permissions of the file of `unix_socket` in octal digits, such as `0660`. Write permission is needed to connect. Unset, the
    /// process's umask decides.
    pub unix_socket_mode: Option<String>,
    /// Timeout for a client to send a request's headers.
    pub header_timeout: Duration,
    /// Timeout of an idle connection, without a request. Keep it longer than the idle timeouts of the proxies in front,
    /// so that the proxies close connections first.
    pub idle_timeout: Duration,
    /// Timeout for a client to read the next 16 KiB of a response, or the rest if that is less.
    pub send_timeout: Duration,
    /// The maximum number of open connections. Beyond it, each new connection closes the one that has been idle
    /// longest. Unset, it is 10,000, or less where the container's memory limit is below 5 GiB.
    #[schemars(range(min = 1))]
    pub max_connections: Option<usize>,
    /// The maximum number of concurrent requests on one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
    /// The maximum number of headers of an HTTP/1 request: 431 beyond it. Proxies add some. More than 100 take additional
    /// memory for each request.
    #[schemars(range(min = 1, max = 1000))]
    pub max_headers: usize,
    /// The proxies in front of the service, as addresses and networks: only they are trusted to
    /// forward a client's address. Without any, the client is the peer of the connection.
    pub trusted_proxies: Vec<Network>,
    /// The header in which trusted proxies name the client: `x-forwarded-for`, or `forwarded` (RFC 7239). The other
    /// header is never read, because proxies forward it as clients send it.
    pub forwarded_header: ForwardedHeader,
    /// The callers whose `x-request-id` and `traceparent` are kept: `from-anyone`, `from-trusted-proxies` or `from-nobody`.
    pub accept_ids: AcceptIds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 8080,
            unix_socket: None,
            unix_socket_mode: None,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(650),
            send_timeout: Duration::from_secs(30),
            max_connections: None,
            max_streams: 100,
            max_headers: HYPERS_HEADERS,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            accept_ids: AcceptIds::default(),
        }
    }
}

impl Settings {
    /// The proxies in front of the service, for a `RequestLayer`.
    pub fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxies.iter().copied(), self.forwarded_header)
            .accept_ids(self.accept_ids)
    }

    /// The parsed `unix_socket_mode`. `None` also if it is invalid, because validation reports that.
    pub(super) fn unix_socket_mode(&self) -> Option<u32> {
        let mode = u32::from_str_radix(self.unix_socket_mode.as_deref()?, 8);
        mode.ok().filter(|mode| *mode <= 0o777)
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        for (key, value) in [
            ("server.header_timeout", self.header_timeout),
            ("server.idle_timeout", self.idle_timeout),
            ("server.send_timeout", self.send_timeout),
        ] {
            if value.is_zero() {
                errors.add(key, "must be longer than 0s");
            }
        }
        // The schema has these ranges as well, but it does not check settings that are made in code.
        if self.max_connections == Some(0) {
            errors.add("server.max_connections", "must be at least 1");
        }
        if self.max_streams == 0 {
            errors.add("server.max_streams", "must be at least 1");
        }
        if !(1..=1000).contains(&self.max_headers) {
            errors.add("server.max_headers", "must be from 1 to 1000");
        }
        if let Some(path) = &self.unix_socket {
            // An empty path would be a socket without a name.
            let name = std::os::unix::net::SocketAddr::from_pathname(path);
            if path.as_os_str().is_empty() || name.is_err() {
                let message =
                    "must be a path of at most 100 bytes, such as `/run/orders/http.sock`";
                errors.add("server.unix_socket", message);
            }
        }
        if self.unix_socket_mode.is_some() && self.unix_socket_mode().is_none() {
            let message = "must be permissions in octal digits, such as `0660`";
            errors.add("server.unix_socket_mode", message);
        }
        if self.trusted_proxies.iter().any(Network::is_everything) {
            let message = "contains every address, so any client could forge its own: \
                           expected the networks of the proxies";
            errors.add("server.trusted_proxies", message);
        }
    }
}
