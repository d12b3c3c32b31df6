//! Validates Redis URLs. Error messages never quote the URL, because after a typo any part of it may be the password.

use std::net::IpAddr;

use axum_chassis::settings::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

const TCP: &str = "redis://USER:PASSWORD@HOST:6379/0";

/// Parses a URL. `Err` contains the error and the expected form.
pub(crate) fn read(url: &Secret) -> Result<ConnectionInfo, String> {
    let tls = if cfg!(feature = "tls") {
        ", or rediss:// for TLS"
    } else {
        ""
    };
    if url.is_empty() {
        return Err(format!("missing, expected {TCP}{tls}"));
    }
    check(url.expose().trim()).map_err(|wrong| format!("invalid URL: {wrong}; expected {TCP}{tls}"))
}

/// Whether others on the network can read the connection: it goes to another host, without TLS.
pub(crate) fn is_readable(info: &ConnectionInfo) -> bool {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) => {
            let host = host.trim_matches(['[', ']']);
            let is_loopback = host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
            host != "localhost" && !is_loopback
        }
        _ => false,
    }
}

fn check(text: &str) -> Result<ConnectionInfo, &'static str> {
    const PASSWORD: &str =
        "a `/`, `?`, `#` or `@` in the password has to be written %2F, %3F, %23 or %40";
    let (scheme, _) = text.split_once(':').unwrap_or_default();
    let parameters: &[&str] = match scheme {
        "redis" | "valkey" => &["protocol"],
        "rediss" | "valkeys" if cfg!(feature = "tls") => &["protocol"],
        "rediss" | "valkeys" => return Err("TLS needs the feature `tls` of axum-chassis-redis"),
        "unix" | "redis+unix" | "valkey+unix" => &["db", "user", "pass", "protocol"],
        _ => return Err("unknown URL scheme"),
    };
    let Some(url) = redis::parse_redis_url(text) else {
        return Err(
            "the host is missing, the port is not a number, or the password has a \
                    character that is not written as %XX",
        );
    };
    let later = [url.path(), url.query().unwrap_or_default()];
    if url.fragment().is_some() || later.iter().any(|part| part.contains('@')) {
        return Err(PASSWORD);
    }
    if !url
        .query_pairs()
        .all(|(name, _)| parameters.contains(&&*name))
    {
        return Err(
            "after the `?`, only `protocol=resp2` and `protocol=resp3` are allowed \
                    (for a Unix socket also db, user and pass)",
        );
    }
    let says_protocol = url.query_pairs().any(|(name, _)| name == "protocol");
    // The parser's message may quote the URL.
    let info = url.into_connection_info().map_err(|_| {
        "after the host, only the number of a database may follow, and then `?protocol=resp2` or `?protocol=resp3`"
    })?;
    if says_protocol {
        return Ok(info);
    }
    let settings = info.redis_settings().clone();
    Ok(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_and_uses_resp3_by_default() {
        for (url, protocol) in [
            ("redis://localhost", ProtocolVersion::RESP3),
            (
                "valkey://:hunter2@cache.example:6380/3",
                ProtocolVersion::RESP3,
            ),
            (
                "redis://orders:a%2Fb%40c@localhost/?protocol=resp2",
                ProtocolVersion::RESP2,
            ),
            (
                "unix:///run/redis.sock?db=1&pass=hunter2",
                ProtocolVersion::RESP3,
            ),
        ] {
            let info = read(&url.into()).expect(url);
            assert_eq!(info.redis_settings().protocol(), protocol, "{url}");
        }
    }

    #[test]
    fn a_connection_to_another_host_without_tls_is_insecure() {
        for (url, readable) in [
            ("redis://:hunter2@cache.example", true),
            ("redis://10.0.0.1", true),
            ("redis://localhost", false),
            ("redis://127.0.0.1:6380", false),
            ("redis://[::1]", false),
            ("unix:///run/redis.sock", false),
            #[cfg(feature = "tls")]
            ("rediss://cache.example", false),
        ] {
            let info = read(&url.into()).expect(url);
            assert_eq!(is_readable(&info), readable, "{url}");
        }
    }

    #[test]
    fn the_error_for_an_invalid_url_is_helpful_and_does_not_quote_it() {
        for (url, helps) in [
            ("", "missing, expected redis://USER:PASSWORD@HOST:6379/0"),
            ("hunter2", "unknown URL scheme"),
            ("http://:hunter2@cache", "unknown URL scheme"),
            ("redis://:hun/ter2@cache", "%XX"),
            ("redis://user:12/hunter2@cache", "%2F"),
            ("redis://user:12?hunter2@cache", "%3F"),
            ("redis://user:12#hunter2@cache", "%23"),
            ("redis://cache/hunter2", "the number of a database"),
            ("redis://cache/?password=hunter2", "only `protocol=resp2`"),
            ("redis://cache/?protocol=hunter2", "`?protocol=resp2`"),
            ("redis://:hunter2@", "the host is missing"),
            #[cfg(not(feature = "tls"))]
            ("rediss://:hunter2@cache", "TLS needs the feature `tls`"),
        ] {
            let said = read(&url.into()).expect_err(url);
            assert!(said.contains(helps), "{url}: {said}");
            assert!(
                !said.contains("hunter2") && !said.contains("ter2"),
                "{url}: {said}"
            );
        }
    }
}
