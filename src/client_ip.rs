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

mod hops;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::settings::Network;

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

/// The header that the proxies write.
///
/// The other header is never read, because proxies forward it as clients send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded`, as [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239) defines it.
    Forwarded,
}

/// The callers from which `x-request-id` and `traceparent` are accepted. `traceparent` includes the trace's sampling
/// decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AcceptIds {
    /// From every caller. Choose it if all callers are your own services, or if a proxy in front replaces the IDs of
    /// other callers.
    #[default]
    FromAnyone,
    /// From connections of trusted proxies only.
    FromTrustedProxies,
    /// From no caller: each request gets new IDs.
    FromNobody,
}

/// The proxies whose forwarding header is trusted. None by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<Network>,
    header: ForwardedHeader,
    ids: AcceptIds,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

// === impl Proxies ===

impl Proxies {
    /// The proxies of these networks, all of which write this header.
    pub fn new(networks: impl IntoIterator<Item = Network>, header: ForwardedHeader) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            header,
            ids: AcceptIds::default(),
        }
    }

    /// The address of the client whose request has these headers and came over a connection from `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = match self.header {
            ForwardedHeader::XForwardedFor => hops::read(headers, X_FORWARDED_FOR, hops::address),
            ForwardedHeader::Forwarded => hops::read(headers, header::FORWARDED, hops::forwarded),
        };
        while self.trusts(client)
            && let Some(Some(hop)) = hops.next()
        {
            client = hop;
        }
        client
    }

    /// Sets from which callers the IDs of requests and traces are accepted.
    #[must_use]
    pub fn accept_ids(mut self, ids: AcceptIds) -> Self {
        self.ids = ids;
        self
    }

    /// Whether the IDs in the request's headers are kept.
    pub(crate) fn accepts_ids_of(&self, request: &Request) -> bool {
        let peer = || request.extensions().get::<ConnectInfo<SocketAddr>>();
        match self.ids {
            AcceptIds::FromAnyone => true,
            AcceptIds::FromTrustedProxies => {
                peer().is_some_and(|ConnectInfo(peer)| self.trusts(peer.ip().to_canonical()))
            }
            AcceptIds::FromNobody => false,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.contains(address))
    }

    /// The client's address, if it is known; [`ClientAddress`] returns the same.
    pub(crate) fn identify(&self, request: &mut Request) -> Option<IpAddr> {
        let ConnectInfo(peer) = *request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        if self.networks.is_empty() {
            return Some(peer.ip());
        }
        let client = self.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ClientAddress(client));
        Some(client)
    }
}

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
