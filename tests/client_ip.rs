//! The client's address from the headers of trusted proxies, and forged headers.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum_chassis::ClientAddress;
use axum_chassis::client_ip::{ForwardedHeader, Proxies};
use axum_chassis::logs::{self, Output};
use axum_chassis::metrics::Metrics;
use axum_chassis::request::RequestLayer;
use axum_chassis::{ChassisSettings, limits};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use tower::ServiceExt;

const PEER: &str = "10.0.0.1";

fn proxies(header: ForwardedHeader) -> Proxies {
    let networks = ["10.0.0.0/8", "fd00::/8", "192.0.2.200"];
    Proxies::new(
        networks.map(|network| network.parse().expect("a network")),
        header,
    )
}

/// The client of a request over a connection of `peer` with these lines of the header.
fn client(header: ForwardedHeader, peer: &str, lines: &[impl AsRef<[u8]>]) -> String {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        _ => "forwarded",
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_ref()).expect("a header's value");
        headers.append(name, line);
    }
    let peer = peer.parse().expect("an address");
    proxies(header).client(peer, &headers).to_string()
}

#[test]
fn x_forwarded_for_is_read_from_the_right_past_trusted_proxies() {
    let cases: &[(&[&str], &str)] = &[
        (&[], PEER),
        (&[""], PEER),
        (&["198.51.100.7"], "198.51.100.7"),
        (&["192.0.2.99, 198.51.100.7"], "198.51.100.7"),
        (
            &["198.51.100.7, 10.0.0.2, fd00::3,10.0.0.4"],
            "198.51.100.7",
        ),
        (&["192.0.2.99", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        (&["198.51.100.7, 192.0.2.200"], "198.51.100.7"),
        (&["192.0.2.99, 192.0.2.201"], "192.0.2.201"),
        // Trusted all the way: a request that began within.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Items and lines without anything in them.
        (&["198.51.100.7, ,", "", ",,"], "198.51.100.7"),
        // With ports, as some balancers write them.
        (&["198.51.100.7:4711"], "198.51.100.7"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["2001:db8::1"], "2001:db8::1"),
        // IPv4 is IPv4, also in the list of those that are trusted.
        (&["198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
        (&["::ffff:198.51.100.7"], "198.51.100.7"),
        // An invalid address ends it.
        (&["198.51.100.7, unknown"], PEER),
        (&["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
        (&["198.51.100.7, \"10.0.0.2\""], PEER),
        (&["198.51.100.7, \""], PEER),
        (&["198.51.100.7;10.0.0.2"], PEER),
        (&["198.51.100.7 10.0.0.2"], PEER),
        (&["198.51.100.007"], PEER),
        (&["198.51.100"], PEER),
        (&["198.51.100.7:"], PEER),
        (&["198.51.100.7:port"], PEER),
        (&["198.51.100.7:471100"], PEER),
        (&["[198.51.100.7]"], PEER),
        (&["[2001:db8::1"], PEER),
        (&["[2001:db8::1]4711"], PEER),
        (&["fe80::1%eth0"], PEER),
        (&["for=198.51.100.7"], PEER),
        (&["localhost"], PEER),
    ];
    for (lines, expected) in cases {
        let found = client(ForwardedHeader::XForwardedFor, PEER, lines);
        assert_eq!(found, *expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_parsed_as_in_rfc_7239() {
    let cases: &[(&[&str], &str)] = &[
        (&[], PEER),
        (&["for=198.51.100.7"], "198.51.100.7"),
        (&["For=\"198.51.100.7:4711\""], "198.51.100.7"),
        (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17"),
        (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=\"198.51.100.7:_hidden\""], "198.51.100.7"),
        (&["for=198.51.100.7;proto=http;by=10.0.0.2"], "198.51.100.7"),
        (&["by=10.0.0.2 ; FOR=198.51.100.7 ;"], "198.51.100.7"),
        (
            &["for=192.0.2.99, for=198.51.100.7, for=10.0.0.2"],
            "198.51.100.7",
        ),
        (
            &["for=192.0.2.99", "for=198.51.100.7", "for=\"[fd00::2]\""],
            "198.51.100.7",
        ),
        // Quoted strings hold anything.
        (
            &["for=198.51.100.7;host=\"a,b;for=192.0.2.99\", for=10.0.0.2"],
            "198.51.100.7",
        ),
        (
            &["for=192.0.2.99, for=198.51.100.7;x=\"\\\"\\\\\", for=10.0.0.2"],
            "198.51.100.7",
        ),
        // A hidden address ends the search.
        (&["for=192.0.2.99, for=unknown"], PEER),
        (&["for=192.0.2.99, for=_gazonk, for=10.0.0.2"], "10.0.0.2"),
        (&["for=192.0.2.99, for=\"_gazonk:80\""], PEER),
        // And so does an invalid entry, or one without an address.
        (&["for=192.0.2.99, proto=https"], PEER),
        (&["for=192.0.2.99;for=198.51.100.7"], PEER),
        (&["for=192.0.2.99;secure"], PEER),
        (&["for=\"192.0.2.99"], PEER),
        (&["for=192.0.2.99\""], PEER),
        (&["for=\"\""], PEER),
        (&["for=\"192.0.2.9\\9\""], PEER),
        (&["for=[2001:db8::1]x"], PEER),
        (&["for = 192.0.2.99"], PEER),
        (&["192.0.2.99"], PEER),
    ];
    for (lines, expected) in cases {
        let found = client(ForwardedHeader::Forwarded, PEER, lines);
        assert_eq!(found, *expected, "{lines:?}");
    }
}

#[test]
fn a_clients_quotation_mark_does_not_hide_what_a_proxy_has_added() {
    let added = "for=\"[2001:db8::1]:4711\";host=\"shop\"";
    for forged in [
        "for=\"",
        "for=192.0.2.99;by=\"",
        "\"",
        "\\\"",
        "for=\"\\",
        "\";for=192.0.2.99",
    ] {
        for lines in [
            vec![format!("{forged}, {added}")],
            vec![forged.to_owned(), added.to_owned()],
        ] {
            let found = client(ForwardedHeader::Forwarded, PEER, &lines);
            assert_eq!(found, "2001:db8::1", "{lines:?}");
        }
    }
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_headers_it_sends() {
    for (peer, shown) in [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        // The same bits as in 10.0.0.0/8.
        ("a00::1", "a00::1"),
    ] {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            assert_eq!(
                client(header, peer, &["192.0.2.99", "for=192.0.2.99"]),
                shown
            );
        }
    }
    let mapped = client(
        ForwardedHeader::XForwardedFor,
        "::ffff:10.0.0.1",
        &["198.51.100.7"],
    );
    assert_eq!(mapped, "198.51.100.7");
}

#[test]
fn an_endless_list_is_read_up_to_a_limit() {
    let endless = ["192.0.2.99".to_owned() + &", 10.0.0.2".repeat(6000)];
    assert_eq!(
        client(ForwardedHeader::XForwardedFor, PEER, &endless),
        "10.0.0.2"
    );
    let (long, longer) = ("x".repeat(300), "x".repeat(60_000));
    for line in [
        format!("for=198.51.100.7;host=\"{longer}\""),
        // A value that is too long is ignored, and text before it does not make it acceptable.
        format!("for=192.0.2.99;a=b, by=proxy;x={long};y={long}"),
        format!("for=192.0.2.99, {}for=198.51.100.7", " ".repeat(600)),
    ] {
        assert_eq!(client(ForwardedHeader::Forwarded, PEER, &[line]), PEER);
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(
        lines in prop::collection::vec(prop::collection::vec(prop_oneof![
            Just(b'"'), Just(b'\\'), Just(b','), Just(b';'), Just(b'='), Just(b'['), Just(b']'), Just(b':'),
            b' '..=b'~', 0x80_u8..=0xff,
        ], 0..200), 0..4),
    ) {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            client(header, PEER, &lines);
        }
    }

    /// The promise that all of this is for.
    #[test]
    fn nothing_that_a_client_sends_changes_its_address(
        forged in prop::collection::vec("[ -~]{0,60}|[ -~]{500,600}|(for=\"?192\\.0\\.2\\.99[\";,\\\\ ]*)*", 0..4),
        hops: u8,
    ) {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let mut lines = forged.clone();
            // Each proxy adds whom it got the request from: to the last line, or in one of its own.
            for hop in 0..=hops % 4 {
                let from = if hop == 0 { "198.51.100.7".to_owned() } else { format!("10.0.0.{hop}") };
                let added = match header {
                    ForwardedHeader::XForwardedFor => from,
                    _ => format!("for=\"{from}:80\";proto=https"),
                };
                match lines.last_mut() {
                    Some(line) if hops & 0x80 == 0 => *line += &format!(", {added}"),
                    _ => lines.push(added),
                }
            }
            prop_assert_eq!(client(header, PEER, &lines), "198.51.100.7");
        }
    }
}

fn whoami() -> Router {
    let answer = async |ClientAddress(client): ClientAddress| client.to_string();
    Router::new().route("/", get(answer))
}

async fn asked(router: Router, peer: Option<&str>) -> (StatusCode, String) {
    let request = Request::get("/").header("x-forwarded-for", "198.51.100.7");
    let mut request = request.body(Body::empty()).expect("a request");
    if let Some(peer) = peer {
        let peer: IpAddr = peer.parse().expect("an address");
        let peer = SocketAddr::from((peer, 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    let response = router.oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000)
        .await
        .expect("a body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn the_extractor_returns_the_client_with_and_without_the_layer_and_proxies() {
    let logs = logs::start(&Default::default(), Output::to(std::io::sink())).expect("logs");
    let layer = || RequestLayer::new(&limits::Settings::default(), &logs, &Metrics::new());
    let plain = || layer().expect("metrics");
    let behind = || plain().trusted_proxies(proxies(ForwardedHeader::XForwardedFor));
    for (router, peer, client) in [
        (whoami(), "10.0.0.1", "10.0.0.1"),
        (whoami(), "::ffff:10.0.0.1", "10.0.0.1"),
        (whoami().layer(plain()), "10.0.0.1", "10.0.0.1"),
        (whoami().layer(behind()), "::ffff:10.0.0.1", "198.51.100.7"),
        (whoami().layer(behind()), "192.0.2.1", "192.0.2.1"),
    ] {
        let answer = asked(router, Some(peer)).await;
        assert_eq!(answer, (StatusCode::OK, client.to_owned()), "{peer}");
    }
}

#[tokio::test]
async fn a_listener_without_peer_addresses_is_a_500() {
    let (status, body) = asked(whoami(), None).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.contains("connect_info"), "{body}");
}

#[test]
fn no_proxy_is_trusted_by_default() {
    let server = ChassisSettings::default().server;
    assert!(server.trusted_proxies.is_empty());
    assert_eq!(server.forwarded_header, ForwardedHeader::XForwardedFor);
}
