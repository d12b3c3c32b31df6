//! Access rules of the admin listener.
//!
//! | route | without `admin.token` | with `admin.token` |
//! |---|---|---|
//! | `/health/*`, `/metrics`, `/version` | everyone | everyone |
//! | `/`, `/status`, `/config`, `GET /log` | everyone | requests with the token; everyone with `admin.read = "everyone"` |
//! | `PUT` and `POST /log` | localhost, outside of containers | requests with the token |
//! | a service's own routes: GET, HEAD, OPTIONS, TRACE | as `/status` | as `/status` |
//! | a service's own routes: other methods | as `PUT /log` | as `PUT /log` |
//!
//! On all routes except those of the first row, a connection to localhost is rejected unless its `Host` is `localhost`
//! or an IP address. This protects an engineer who forwards the port. Otherwise, a web page whose name resolves to
//! localhost (DNS rebinding) could read these routes through the engineer's browser.

mod reason;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::response::Response;
use axum_chassis_server::RateLimit;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tracing::Level;

use self::reason::Reason;
use crate::logs::Logs;
use crate::metrics::{Counter, Family, InvalidMetric, Metrics};
use crate::platform;
use crate::settings::Secret;

/// The requests that may read `/`, `/status`, `/config` and `/log` once `admin.token` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Read {
    /// Requests with the token.
    #[default]
    WithToken,
    /// Every client that can connect.
    Everyone,
}

/// The access that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Write,
}

/// At most one rejection is logged in this time; the counter includes all of them.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Decides whether a request has access. Counts rejections, and logs them at a limited rate.
pub(super) struct Access {
    token: Option<Secret>,
    read: Read,
    in_container: bool,
    logs: Logs,
    refused: Family<Counter, 1>,
    log_limit: RateLimit,
}

impl Access {
    pub(super) fn new(
        settings: &super::Settings,
        logs: Logs,
        metrics: &Metrics,
    ) -> Result<Self, InvalidMetric> {
        let refused = metrics.counter_with(
            "admin_requests_refused_total",
            "Requests of the admin listener that were refused, by reason.",
            ["reason"],
        )?;
        Ok(Self {
            token: settings
                .token
                .as_ref()
                .map(|token| Secret::from(token.expose().trim().to_owned())),
            read: settings.read,
            in_container: settings.in_container || platform::in_container(),
            logs,
            refused,
            log_limit: RateLimit::new(LOG_PERIOD),
        })
    }

    /// `Ok` if the request is allowed; `Err` contains the error response.
    pub(super) fn check(
        &self,
        action: Action,
        client: SocketAddr,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Box<Response>> {
        // The authority in a request's target takes precedence over `Host` (RFC 9112, 3.2.2). In HTTP/2 it is used
        // instead of `Host`.
        let authority = uri.authority().map(Authority::as_str);
        let host = authority
            .or(text(headers, header::HOST))
            .unwrap_or_default();
        self.decide(action, client.ip().to_canonical(), host, headers)
            .map_err(|reason| {
                self.refused.with([reason.label()]).inc();
                self.log(reason, client);
                Box::new(reason.answer())
            })
    }

    fn decide(
        &self,
        action: Action,
        client: IpAddr,
        host: &str,
        headers: &HeaderMap,
    ) -> Result<(), Reason> {
        if is_localhost(client) && !is_address(host) {
            return Err(Reason::Host);
        }
        let origin = text(headers, header::ORIGIN);
        let authority = origin.map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
        if action == Action::Write && authority.is_some_and(|authority| authority != host) {
            return Err(Reason::Origin);
        }
        match (&self.token, action) {
            (None, Action::Read) => Ok(()),
            (Some(_), Action::Read) if self.read == Read::Everyone => Ok(()),
            (Some(token), _) => match given(headers) {
                Some(given) if bool::from(given.ct_eq(token.expose().as_bytes())) => Ok(()),
                _ => Err(Reason::Token),
            },
            (None, Action::Write) if self.in_container => Err(Reason::Container),
            (None, Action::Write) if !is_localhost(client) || is_forwarded(headers) => {
                Err(Reason::Remote)
            }
            (None, Action::Write) => Ok(()),
        }
    }

    fn log(&self, reason: Reason, client: SocketAddr) {
        let Some(others) = self.log_limit.admit() else {
            return;
        };
        self.logs.always(
            Level::WARN,
            module_path!(),
            "request to the admin listener refused",
            &[
                ("client", &client.ip()),
                ("reason", &reason.label()),
                ("others", &others),
            ],
        );
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

/// A request with forwarding headers comes from a proxy on this machine, not from a local client.
fn is_forwarded(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "forwarded", "via", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// The token of `Authorization: Bearer` ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), or the
/// password of a browser ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617#section-2)).
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether the client is on this machine. Not all of 127.0.0.0/8 counts as such, because every client of a service with
/// an Istio sidecar has the address 127.0.0.6.
fn is_localhost(client: IpAddr) -> bool {
    client == Ipv4Addr::LOCALHOST || client == Ipv6Addr::LOCALHOST
}

/// Whether a host is localhost or an IP address, and not a name that a foreign DNS zone may resolve to this machine.
fn is_address(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    bare.eq_ignore_ascii_case("localhost")
        || bare.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn decide(
        access: (Option<&str>, Read, bool),
        action: Action,
        client: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), Reason> {
        let (token, read, in_container) = access;
        let settings = super::super::Settings {
            token: token.map(|token| Secret::from(token.to_owned())),
            read,
            ..Default::default()
        };
        let output = crate::logs::Output::to(std::io::sink());
        let logs = crate::logs::start(&crate::logs::Settings::default(), output).expect("logs");
        let access = Access {
            in_container,
            ..Access::new(&settings, logs, &Metrics::new()).expect("metrics")
        };
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("localhost:9090"));
        for (name, value) in headers {
            let name = header::HeaderName::try_from(*name).expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        let host = text(&map, header::HOST).unwrap_or_default();
        access.decide(action, client.parse().expect("an address"), host, &map)
    }

    #[test]
    fn without_a_token_every_client_may_read_and_only_localhost_may_write() {
        let outside = (None, Read::WithToken, false);
        let write = |client, headers: &[_]| decide(outside, Action::Write, client, headers);
        assert_eq!(decide(outside, Action::Read, "10.0.0.7", &[]), Ok(()));
        for client in ["127.0.0.1", "::1"] {
            assert_eq!(write(client, &[]), Ok(()), "{client}");
        }
        for client in ["10.0.0.7", "127.0.0.6", "127.1.1.1"] {
            assert_eq!(write(client, &[]), Err(Reason::Remote), "{client}");
        }
        for forwarded in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            let headers = [(forwarded, "for=8.8.8.8")];
            assert_eq!(write("127.0.0.1", &headers), Err(Reason::Remote));
        }
        let inside = (None, Read::WithToken, true);
        assert_eq!(
            decide(inside, Action::Write, "127.0.0.1", &[]),
            Err(Reason::Container)
        );
        assert_eq!(decide(inside, Action::Read, "127.0.0.1", &[]), Ok(()));
    }

    #[test]
    fn with_a_token_every_client_needs_it() {
        let access = (Some(TOKEN), Read::WithToken, true);
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for action in [Action::Read, Action::Write] {
            for client in ["127.0.0.1", "10.0.0.7"] {
                let with =
                    |value: &str| decide(access, action, client, &[("authorization", value)]);
                assert_eq!(decide(access, action, client, &[]), Err(Reason::Token));
                for right in [
                    format!("Bearer {TOKEN}"),
                    format!("bearer  {TOKEN}"),
                    basic(&format!("any:{TOKEN}")),
                ] {
                    assert_eq!(with(&right), Ok(()), "{right}");
                }
                for wrong in [
                    "Bearer 0123456789abcdeF".to_owned(),
                    "Bearer ".to_owned(),
                    "Bearer".to_owned(),
                    TOKEN.to_owned(),
                    format!("Digest {TOKEN}"),
                    "Basic ?".to_owned(),
                    basic(TOKEN),
                    basic(&format!("{TOKEN}:wrong")),
                ] {
                    assert_eq!(with(&wrong), Err(Reason::Token), "{wrong}");
                }
            }
        }
        let open = (Some(TOKEN), Read::Everyone, true);
        assert_eq!(decide(open, Action::Read, "10.0.0.7", &[]), Ok(()));
        assert_eq!(
            decide(open, Action::Write, "127.0.0.1", &[]),
            Err(Reason::Token)
        );
    }

    #[test]
    fn a_host_name_that_resolves_to_localhost_is_misdirected() {
        let access = (None, Read::WithToken, false);
        for action in [Action::Read, Action::Write] {
            for host in [
                "evil.example",
                "evil.example:9090",
                "localhost.evil.example",
                "",
            ] {
                let headers = [("host", host)];
                let decided = decide(access, action, "127.0.0.1", &headers);
                assert_eq!(decided, Err(Reason::Host), "{host}");
            }
            for host in [
                "localhost",
                "LOCALHOST:9090",
                "127.0.0.1:9090",
                "[::1]:9090",
                "10.0.0.7",
            ] {
                let headers = [("host", host)];
                assert_eq!(decide(access, action, "::1", &headers), Ok(()), "{host}");
            }
        }
        // Prometheus, for example, sends the name of the service as `Host`.
        let headers = [("host", "orders-admin.orders:9090")];
        assert_eq!(decide(access, Action::Read, "10.0.0.7", &headers), Ok(()));
    }

    #[test]
    fn in_a_browser_only_the_admin_page_may_write() {
        let access = (None, Read::WithToken, false);
        for (host, origin, expected) in [
            ("localhost:9090", "http://localhost:9090", Ok(())),
            ("[::1]:9090", "http://[::1]:9090", Ok(())),
            (
                "localhost:9090",
                "https://evil.example",
                Err(Reason::Origin),
            ),
            (
                "localhost:9090",
                "http://localhost:8080",
                Err(Reason::Origin),
            ),
            ("localhost:9090", "null", Err(Reason::Origin)),
            (
                "evil.example:9090",
                "http://evil.example:9090",
                Err(Reason::Host),
            ),
        ] {
            let headers = [("host", host), ("origin", origin)];
            let decided = decide(access, Action::Write, "127.0.0.1", &headers);
            assert_eq!(decided, expected, "{host} {origin}");
        }
    }
}
