//! Whether a request says whom it is for, as [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)
//! has it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv6Addr;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Version, header};
use tower::Service;

use crate::problem::Problem;

/// Whether there is one `Host` that names a host, or none where the protocol needs none.
///
/// With two, or with one that everybody reads in a way of their own, this service and a proxy
/// before it might each believe that another host is meant.
pub(super) fn is_named(version: Version, headers: &HeaderMap) -> bool {
    // `:authority` is read with the rest of the request's URI.
    if version > Version::HTTP_11 {
        return true;
    }
    // Requests have few headers: looking at each is cheaper than a hash.
    let mut hosts = headers.iter().filter(|(name, _)| **name == header::HOST);
    match (hosts.next(), hosts.next()) {
        (Some((_, host)), None) => is_host(host.as_bytes()),
        (None, _) => version < Version::HTTP_11,
        _ => false,
    }
}

/// Answers requests that do not, whatever they ask for.
pub(crate) fn misaddressed() -> Router {
    Router::new().fallback_service(Refusal)
}

/// A service rather than a handler, of which axum compiles a good deal more.
#[derive(Clone)]
struct Refusal;

impl Service<Request> for Refusal {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        let detail = "a request of HTTP/1.1 has one Host header, which names a host";
        ready(Ok(Problem::bad_request(detail).into_response()))
    }
}

/// `uri-host [ ":" port ]`, after [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2).
/// It may be empty, as a URI without an authority has nothing to say.
fn is_host(value: &[u8]) -> bool {
    if let [b'[', rest @ ..] = value {
        return is_literal(rest);
    }
    let mut rest = value;
    loop {
        let plain = rest.iter().take_while(|byte| PLAIN[usize::from(**byte)]);
        rest = match &rest[plain.count()..] {
            [] => return true,
            [b'%', high, low, after @ ..] if [high, low].iter().all(|d| d.is_ascii_hexdigit()) => {
                after
            }
            after => return is_port(after),
        };
    }
}

/// What follows `[`: an IPv6 address, `]` and perhaps a port.
fn is_literal(rest: &[u8]) -> bool {
    let Some(end) = rest.iter().position(|byte| *byte == b']') else {
        return false;
    };
    let address = std::str::from_utf8(&rest[..end]).map(str::parse::<Ipv6Addr>);
    matches!(address, Ok(Ok(_))) && is_port(&rest[end + 1..])
}

fn is_port(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The characters that stand for themselves in a name.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut marks: &[u8] = b"-._~!$&'()*+,;=";
    while let [mark, rest @ ..] = marks {
        plain[*mark as usize] = true;
        marks = rest;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "test",
            "test:8080",
            "test:",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:8080",
            "a_b-c.example.",
            "a%2Db",
            "%c3%a4",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "user@test",
            "http://test",
            "a:b",
            "a:80:80",
            "a:80 ",
            "[::1",
            "::1",
            "[::1]x",
            "[]",
            "[test]",
            "a[::1]",
            "a%2",
            "a%zz",
            "%",
            "a\\b",
            "a\"b",
            "<a>",
            "\u{e4}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
