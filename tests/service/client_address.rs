//! The client's address behind proxies: over real sockets, in the response and in the log.

use serde_json::Value;

use crate::client::request;
use crate::program::{Program, Setup};

/// A service that takes this machine for a proxy, and 10.0.0.0/8.
fn behind_proxies() -> Setup {
    Setup::default().set("server.trusted_proxies", "127.0.0.0/8,10.0.0.0/8")
}

/// The client address that the service determines.
fn client(program: &Program, headers: &[(&str, &str)]) -> String {
    let answer = request(program.main, "GET", "/client", headers, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Stops the program: the clients of its access lines.
fn logged(program: Program) -> Vec<String> {
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let access = log.iter().filter(|line| line["target"] == "access");
    let text = |line: &Value| line["client"].as_str().unwrap().to_owned();
    access.map(text).collect()
}

#[test]
fn the_client_from_a_trusted_proxy_is_used_and_logged() {
    let program = behind_proxies().start();
    let lines = [
        // The first value is the client's own; two proxies have added theirs.
        ("x-forwarded-for", "192.0.2.99"),
        ("x-forwarded-for", "198.51.100.7, 10.0.0.3"),
        ("X-Forwarded-For", "10.0.0.4"),
        // Not written by these proxies: the client's own.
        ("forwarded", "for=192.0.2.98"),
    ];
    assert_eq!(client(&program, &lines), "198.51.100.7");
    assert_eq!(
        client(&program, &[("x-forwarded-for", "2001:db8::1")]),
        "2001:db8::1"
    );
    assert_eq!(client(&program, &[]), "127.0.0.1");
    assert_eq!(
        client(&program, &[("x-forwarded-for", "unknown")]),
        "127.0.0.1"
    );
    assert_eq!(
        logged(program),
        ["198.51.100.7", "2001:db8::1", "127.0.0.1", "127.0.0.1"]
    );
}

#[test]
fn a_header_from_an_untrusted_peer_is_ignored() {
    let spoofed = [
        ("x-forwarded-for", "192.0.2.99"),
        ("forwarded", "for=192.0.2.98"),
    ];
    let elsewhere = Setup::default().set("server.trusted_proxies", "10.0.0.0/8,::1");
    for setup in [Setup::default(), elsewhere] {
        let program = setup.start();
        assert_eq!(client(&program, &spoofed), "127.0.0.1");
        assert_eq!(logged(program), ["127.0.0.1"]);
    }
}

#[test]
fn forwarded_is_read_if_the_settings_name_it() {
    let program = behind_proxies()
        .set("server.forwarded_header", "forwarded")
        .start();
    let lines = [
        ("x-forwarded-for", "192.0.2.99"),
        ("forwarded", "for=192.0.2.98;by=\""),
        (
            "forwarded",
            "proto=https;For=\"[2001:db8:cafe::17]:4711\";host=\"a,b\", for=10.0.0.3",
        ),
    ];
    assert_eq!(client(&program, &lines), "2001:db8:cafe::17");
    assert_eq!(logged(program), ["2001:db8:cafe::17"]);
}

#[test]
fn the_client_address_is_the_same_over_http2() {
    let program = behind_proxies().start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let body = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(program.main).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let get = http::Request::get("http://test/client")
            .header("x-forwarded-for", "192.0.2.99, 198.51.100.7")
            .header("x-forwarded-for", "10.0.0.3")
            .body(())
            .unwrap();
        let mut ready = send.ready().await.unwrap();
        let (response, _) = ready.send_request(get, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        body.data().await.unwrap().unwrap()
    });
    // And with it the connection.
    drop(runtime);
    assert_eq!(body, "198.51.100.7");
    assert_eq!(logged(program), ["198.51.100.7"]);
}

#[test]
fn a_rejected_request_has_its_client_in_the_log() {
    let program = behind_proxies().start();
    let forwarded = [("x-forwarded-for", "198.51.100.7")];
    request(program.main, "GET", "/nowhere", &forwarded, "");
    request(program.main, "GET", "/panic", &forwarded, "");
    assert_eq!(logged(program), ["198.51.100.7"; 2]);
}

#[test]
fn an_invalid_list_is_reported_item_by_item_before_anything_starts() {
    let said = Setup::default()
        .set("server.trusted_proxies", "10.0.0.0/40,10.1.2.3/8,proxy")
        .set("server.forwarded_header", "x-real-ip")
        .run("--check-config");
    assert_eq!(said.code, Some(78), "{}", said.stderr);
    for told in [
        "server.trusted_proxies.0: invalid value (text of 11 characters), expected a prefix from 0 to 32 bits of an IPv4 address",
        "server.trusted_proxies.1: invalid value (text of 10 characters), expected \"10.0.0.0/8\" for the network, or \"10.1.2.3\" for the address alone",
        "server.trusted_proxies.2: invalid value (text of 5 characters), expected an address or a network such as \"10.0.0.7\" or \"10.0.0.0/8\"",
        "server.forwarded_header: invalid value (text of 9 characters), expected one of \"x-forwarded-for\", \"forwarded\"",
    ] {
        assert!(said.stderr.contains(told), "no {told} in {}", said.stderr);
    }
    let everyone = Setup::default()
        .set("server.trusted_proxies", "0.0.0.0/0")
        .run("--check-config");
    assert_eq!(everyone.code, Some(78), "{}", everyone.stderr);
    assert!(
        everyone
            .stderr
            .contains("server.trusted_proxies: contains every address"),
        "{}",
        everyone.stderr
    );
}

#[test]
fn a_proxied_request_is_not_localhost_on_the_admin_listener() {
    let program = behind_proxies().start();
    let forwarded = [("x-forwarded-for", "127.0.0.1")];
    let answer = request(program.admin, "PUT", "/log?ttl=1s", &forwarded, "info");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(program.stop().0, Some(0));
}

#[test]
fn ids_are_kept_from_the_callers_in_the_setting() {
    const ID: (&str, &str) = ("x-request-id", "theirs");
    const TRACE: (&str, &str) = (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    for (accept, proxies, kept) in [
        ("from-anyone", "10.0.0.0/8", true),
        ("from-trusted-proxies", "127.0.0.0/8", true),
        ("from-trusted-proxies", "10.0.0.0/8", false),
        ("from-nobody", "127.0.0.0/8", false),
    ] {
        let program = Setup::default()
            .set("server.trusted_proxies", proxies)
            .set("server.accept_ids", accept)
            .start();
        let answer = request(program.main, "GET", "/onward", &[ID, TRACE], "");
        let onward = answer.json();
        let trace = onward["traceparent"].as_str().unwrap();
        assert_eq!(
            answer.header("x-request-id") == Some("theirs"),
            kept,
            "{accept}"
        );
        assert_eq!(onward["x-request-id"] == "theirs", kept, "{accept}");
        assert_eq!(
            trace.contains("4bf92f3577b34da6a3ce929d0e0e4736"),
            kept,
            "{accept}"
        );
        assert_eq!(trace.ends_with("-01"), kept, "{accept}");
    }
}
