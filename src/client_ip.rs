//! The client's address, also behind proxies.
//!
//! Behind an ingress, a gateway or a load balancer, every connection comes from the proxy, and a header
//! has the client's address. Any client can send that header, so only the part that trusted
//! [`Proxies`] have written counts:
//!
//! - If the connection is not from a trusted proxy, its own address is the client's.
//! - Otherwise the header is read from the right, where each proxy has appended the address of its peer. Trusted
//!   addresses are skipped; the first address that is not trusted is the client's.
//! - An invalid entry ends the search (`unknown`, `_hidden`, anything forged): the last trusted
//!   proxy counts as the client.
//! - Only one header is read, and a setting selects it. Proxies forward the other header as clients send it.
//!
//! Handlers extract the address as [`ClientAddress`]; the access log and the request's span contain it too. In a
//! program that keeps its own `main`, [`RequestLayer::trusted_proxies`] takes the proxies:
//!
//! ```
//! use axum_chassis::client_ip::{ForwardedHeader, Proxies};
//! # use axum_chassis::{limits, logs, metrics::Metrics, request::RequestLayer};
//! # let logs = logs::start(&Default::default(), logs::Output::to(std::io::sink()))?;
//! # let metrics = Metrics::new();
//!
//! let proxies = Proxies::new(["10.0.0.0/8".parse()?], ForwardedHeader::XForwardedFor);
//! let layer = RequestLayer::new(&limits::Settings::default(), &logs, &metrics)?.trusted_proxies(proxies);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`RequestLayer::trusted_proxies`]: crate::request::RequestLayer::trusted_proxies

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
#[doc(inline)]
pub use axum_chassis_server::client_ip::{AcceptIds, ForwardedHeader, Proxies};
use http::StatusCode;
use http::request::Parts;

use crate::problem::Problem;

/// The client's address, for handlers: `async fn order(ClientAddress(client): ClientAddress)`.
///
/// The connection's address or, behind trusted proxies, the address in their header. An IPv4 address that is mapped
/// into IPv6 is returned as IPv4.
///
/// The extractor needs a listener of the chassis, or one with `into_make_service_with_connect_info::<SocketAddr>()`.
/// Without either, the response is a 500. In a test without a socket, put a `ClientAddress` into the request's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a handler takes it apart")]
pub struct ClientAddress(pub IpAddr);

// === impl ClientAddress ===

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let said = parts.extensions.get().copied();
        let connected = || {
            let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(Self(peer.ip().to_canonical()))
        };
        said.or_else(connected).ok_or_else(|| {
            let missing = "unknown client address: serve the router with \
                           into_make_service_with_connect_info::<SocketAddr>()";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR).cause(anyhow::Error::msg(missing))
        })
    }
}

/// The client's address, if it is known; [`ClientAddress`] returns the same.
#[inline]
pub(crate) fn identify(proxies: &Proxies, request: &mut Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = *request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    if proxies.is_empty() {
        return Some(peer.ip());
    }
    let client = proxies.client(peer.ip(), request.headers());
    request.extensions_mut().insert(ClientAddress(client));
    Some(client)
}

/// Whether the IDs in the request's headers are kept.
#[inline]
pub(crate) fn accepts_ids(proxies: &Proxies, request: &Request) -> bool {
    proxies.accepts_ids_from(|| {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip())
    })
}
