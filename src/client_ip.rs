//! The client's address, also behind proxies.
//!
//! Behind an ingress, a gateway or a load balancer, every connection is the proxy's, and a header
//! says whose request it is. Anybody may send that header, so it is believed as far as
//! [`Proxies`] that are trusted have written it, and no further:
//!
//! - Where the connection is not from a trusted proxy, its own address is the client's.
//! - Else the header is read from the right, where each proxy has added whom it got the request
//!   from. Trusted addresses are passed over; the first other one is the client's.
//! - An invalid entry ends the search (`unknown`, `_hidden`, anything forged): the last
//!   trusted proxy stands for the client then.
//! - One header is read, not two: which one the proxies write is a setting. What they do not
//!   write, they pass on as clients send it.
//!
//! [`ClientAddress`] is how handlers get it, and the access line and the span of a request have it.
//! In a program that keeps its own `main`, [`RequestLayer::trusted_proxies`] takes the proxies:
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
/// It is that of the connection, or where that is a trusted proxy's, what the proxies say. Never
/// IPv4 mapped into IPv6. A request that has neither come through a listener of the chassis nor
/// through one with `into_make_service_with_connect_info::<SocketAddr>()` is answered with a 500;
/// a test without a socket puts a `ClientAddress` into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// Which header the proxies write.
///
/// The other one is never read: proxies pass it on as clients send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded`, after [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239).
    Forwarded,
}

/// Whose ids a request keeps: `x-request-id`, and the trace of `traceparent`, whose caller may decide that it is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptIds {
    /// Those of everybody: callers are services of one's own, or a proxy in front replaces what strangers send.
    #[default]
    FromAnyone,
    /// Those that come over a connection of a trusted proxy.
    FromTrustedProxies,
    /// Nobody's: each request gets new ones.
    FromNobody,
}

/// The proxies that are believed when they say whose request it is. None by default.
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

    /// Whose request it is that came with these headers over a connection of `peer`.
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

    /// The same, and whose ids of requests and traces are kept.
    #[must_use]
    pub fn accept_ids(mut self, ids: AcceptIds) -> Self {
        self.ids = ids;
        self
    }

    /// Whether the ids that a request brings are kept.
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

    /// Whose request it is, if that is known; [`ClientAddress`] will say so, too.
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
