//! Validates the `Host` header according to [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112#section-3.2).

use std::net::Ipv6Addr;

use http::{Request, Version, header};

/// Whether the request has exactly one valid `Host`, or none if the protocol does not require it.
///
/// With two, or with an ambiguous one, this service and a proxy in front of it might use different hosts.
pub(super) fn has_valid_host<B>(request: &Request<B>) -> bool {
    let version = request.version();
    let mut host = None;
    // Requests have few headers. To compare each takes 56 instructions less than a lookup by hash.
    for (name, value) in request.headers() {
        if *name == header::HOST && host.replace(value).is_some() {
            return false;
        }
    }
    match host {
        Some(host) => is_host(host.as_bytes()),
        // In HTTP/2, `:authority` takes the place of `Host` (RFC 9113, 8.3.1). hyper has parsed it as part of the URI.
        None if version > Version::HTTP_11 => request.uri().authority().is_some(),
        None => version < Version::HTTP_11,
    }
}

/// Whether the value is `uri-host [ ":" port ]`, as [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2)
/// defines it. The value may be empty, for a URI without an authority.
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

/// Parses the text after `[`: an IPv6 address, `]` and an optional port.
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
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
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
