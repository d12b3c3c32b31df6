//! The client's address behind proxies.
//!
//! Any client can send the headers in which proxies name the client, so only the part that trusted [`Proxies`] have
//! written counts.

mod hops;

use std::net::IpAddr;

use axum_chassis_settings::Network;
use http::{HeaderMap, HeaderName, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

    /// Whether the IDs in the headers of a request are accepted. `peer` returns the address of the request's connection,
    /// if it is known. It is called only if the answer depends on it.
    #[inline]
    pub fn accepts_ids_from(&self, peer: impl FnOnce() -> Option<IpAddr>) -> bool {
        match self.ids {
            AcceptIds::FromAnyone => true,
            AcceptIds::FromTrustedProxies => {
                peer().is_some_and(|peer| self.trusts(peer.to_canonical()))
            }
            AcceptIds::FromNobody => false,
        }
    }

    /// Whether no proxy is trusted: the client is then the peer of the connection.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.contains(address))
    }
}
