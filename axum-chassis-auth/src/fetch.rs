//! The HTTP client for keys: `GET` over TLS, without redirects, with bounded size and time.
//!
//! It uses hyper, which the service contains anyway. reqwest would add dozens of crates, for one request every ten minutes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The maximum size of a response's body. The key sets of large providers, with certificates, have less than 30 kB.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// Parses a URL from which keys can be fetched. `Err` contains the error and the expected form.
pub(crate) fn parse_url(text: &str, allow_http_loopback: bool) -> Result<Uri, String> {
    const EXPECTED: &str = "expected a URL such as https://id.example.com/keys";
    // Before parsing, because the other errors repeat the text.
    if text.contains('@') {
        return Err(format!(
            "invalid URL: it contains `@`, as before a host after a user name; {EXPECTED}"
        ));
    }
    let url: Uri = text
        .parse()
        .map_err(|error| format!("invalid URL \"{text}\": {error}; {EXPECTED}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) if !host.is_empty() => Ok(url),
        (Some("http"), Some(host)) if allow_http_loopback && is_loopback(host) => Ok(url),
        (Some("http"), _) => Err(format!(
            "invalid URL \"{text}\": keys that are fetched without TLS can be forged; {EXPECTED}, \
             or in tests http://127.0.0.1 with `allow_http_loopback = true`"
        )),
        _ => Err(format!("invalid URL \"{text}\": {EXPECTED}")),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The addresses to which a client may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The URL comes from the settings, or has the host of such a URL.
    Any,
    /// Another host has sent the URL, which must not lead into the private network.
    Public,
}

pub(crate) struct Client {
    /// The error if no certificate authorities were found.
    tls: Result<TlsConnector, String>,
    timeout: Duration,
}

impl Client {
    /// A client that trusts the system's certificate authorities, or those in the file that `SSL_CERT_FILE` names.
    pub(crate) fn new(timeout: Duration) -> anyhow::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        let tls = if roots.is_empty() {
            let errors: String = found
                .errors
                .iter()
                .map(|error| format!("; {error}"))
                .collect();
            Err(format!(
                "no certificate authorities found: install ca-certificates, or set SSL_CERT_FILE{errors}"
            ))
        } else {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self { tls, timeout })
    }

    /// The body of a response with status 200. The error names the URL.
    pub(crate) async fn get(&self, url: &Uri, reach: Reach) -> anyhow::Result<Bytes> {
        let answer = tokio::time::timeout(self.timeout, self.exchange(url, reach)).await;
        answer
            .unwrap_or_else(|_| bail!("no response within {} ms", self.timeout.as_millis()))
            .with_context(|| format!("GET {url}"))
    }

    async fn exchange(&self, url: &Uri, reach: Reach) -> anyhow::Result<Bytes> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        if reach == Reach::Public {
            addresses.retain(|address| is_public(address.ip()));
            ensure!(
                !addresses.is_empty(),
                "the issuer's discovery document names a host with a private address: set `jwks_url`"
            );
        }
        let stream = TcpStream::connect(&addresses[..]).await?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        if !is_tls {
            return send(stream, request).await;
        }
        let tls = self.tls.as_ref().map_err(|error| anyhow!("{error}"))?;
        let name = ServerName::try_from(host.to_owned())?;
        send(tls.connect(name, stream).await?, request).await
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        if head.status.is_redirection() {
            bail!(
                "the response is {}; redirects are not followed",
                head.status
            );
        }
        ensure!(
            head.status == StatusCode::OK,
            "the response is {}",
            head.status
        );
        let body = Limited::new(body, MAX_BODY).collect().await;
        // The error is that of the limit or of the connection.
        Ok(body.map_err(|error| anyhow!(error))?.to_bytes())
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        // If the connection ends without an error, the response may still be readable.
        Err(error) = connection => Err(error.into()),
    }
}

/// Whether an address is on the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            /// Carrier-grade NAT, RFC 6598.
            const SHARED: (Ipv4Addr, u32) = (Ipv4Addr::new(100, 64, 0, 0), 0xffc0_0000);
            let is_shared = address.to_bits() & SHARED.1 == SHARED.0.to_bits();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0
                || is_shared)
        }
        IpAddr::V6(address) => {
            // NAT64 (RFC 6052) and 6to4 (RFC 3056): the address contains one of IPv4, which may be private.
            let segments = address.segments();
            let contains_ipv4 =
                segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] || segments[0] == 0x2002;
            !(contains_ipv4
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_over_tls_and_in_tests_from_this_machine() {
        for (url, allowed, wrong) in [
            ("https://id.example.com/keys", false, None),
            ("https://[2001:db8::1]:8443", false, None),
            ("http://127.0.0.1:8080/keys", true, None),
            ("http://[::1]:8080/keys", true, None),
            ("http://localhost/keys", true, None),
            ("http://localhost/keys", false, Some("without TLS")),
            ("http://id.example.com/keys", true, Some("without TLS")),
            ("http://127.0.0.1.example.com/", true, Some("without TLS")),
            (
                "https://user:hunter2@id.example.com",
                false,
                Some("user name"),
            ),
            ("user:hunter2@id.example.com", false, Some("user name")),
            (
                "https://user:hun^ter2@id.example.com",
                false,
                Some("user name"),
            ),
            ("id.example.com/keys", false, Some("expected a URL")),
            ("/keys", false, Some("expected a URL")),
            ("ftp://id.example.com", true, Some("expected a URL")),
            ("", false, Some("expected a URL")),
        ] {
            match (parse_url(url, allowed), wrong) {
                (Ok(_), None) => {}
                (Err(error), Some(wrong)) => {
                    assert!(error.contains(wrong), "{url}: {error}");
                    assert!(!error.contains("ter2"), "{error}");
                }
                (parsed, _) => panic!("{url}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn addresses_of_private_networks_are_not_public() {
        for (address, public) in [
            ("93.184.215.14", true),
            ("2606:2800:21f:cb07::1", true),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2002:a9fe:a9fe::1", false),
        ] {
            assert_eq!(
                is_public(address.parse().expect(address)),
                public,
                "{address}"
            );
        }
    }
}
