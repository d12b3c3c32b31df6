//! Forwarding by proxies: the client's address, WebSockets, server-sent events, and disconnects.

use std::net::{IpAddr, Ipv4Addr};

use e2e::wait_for;

use crate::client::Connection;
use crate::kinds::Upstream;
use crate::proxy::Proxy;
use crate::{DEFAULT, behind_each};

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn the_client_is_the_peer_of_the_proxy() {
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    behind_each(DEFAULT, |proxy| {
        let forged = "x-forwarded-for: 203.0.113.9\r\n";
        let mut problems = Vec::new();
        for headers in ["", forged] {
            let connection = Connection::open_from(from, proxy.port);
            let answer = connection.and_then(|mut it| it.request("GET", "/client", headers, b""));
            match answer {
                Ok(answer) if answer.body == r#"{"client":"127.0.0.2"}"# => {}
                other => problems.push(format!("{headers:?}: {other:?}")),
            }
        }
        problems
    });
}

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn a_websocket_passes() {
    behind_each(DEFAULT, |proxy| {
        let echoed = websocket(proxy);
        println!("{}: {echoed:?}", proxy.name());
        let expected = proxy.upstream == Upstream::Http1 || proxy.kind.has_websockets_over_h2c;
        match echoed {
            Err(error) if expected => vec![error],
            Ok(()) if !expected => vec!["passes, which docs/proxies.md denies".to_owned()],
            _ => Vec::new(),
        }
    });
}

fn websocket(proxy: &Proxy) -> Result<(), String> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let text = |error: std::io::Error| error.to_string();
    let mut connection = proxy.connect();
    let upgrade =
        b"GET /socket HTTP/1.1\r\nhost: orders\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.send(upgrade).map_err(text)?;
    let (status, head) = connection.head().map_err(text)?;
    if status != 101 {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    let mut frame = vec![0x81, 0x80 | 3];
    frame.extend(MASK);
    frame.extend(b"tea".iter().zip(MASK).map(|(byte, mask)| byte ^ mask));
    connection.send(&frame).map_err(text)?;
    let mut echo = [0; 5];
    connection.read(&mut echo).map_err(text)?;
    (echo == *b"\x81\x03tea")
        .then_some(())
        .ok_or_else(|| format!("{echo:?}"))
}

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn server_sent_events_arrive_one_by_one() {
    behind_each(DEFAULT, |proxy| {
        let events = || -> std::io::Result<()> {
            let mut connection = proxy.connect();
            connection.send(b"GET /events HTTP/1.1\r\nhost: orders\r\n\r\n")?;
            let (status, head) = connection.head()?;
            if status != 200 || !head.contains("text/event-stream") {
                return Err(std::io::Error::other(head));
            }
            // The stream does not end: what arrives has not waited for more to fill a buffer.
            for _ in 0..5 {
                let chunk = connection.chunk()?.unwrap_or_default();
                if chunk.len() > 5 * "data: shipped\n\n".len() {
                    return Err(std::io::Error::other(format!(
                        "{} bytes at once",
                        chunk.len()
                    )));
                }
            }
            Ok(())
        };
        let result = events();
        result
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect()
    });
}

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn a_client_that_leaves_is_a_499_where_the_proxy_leaves_too() {
    behind_each(DEFAULT, |proxy| {
        let mut connection = proxy.connect();
        let request = b"GET /slow/3000 HTTP/1.1\r\nhost: orders\r\n\r\n";
        connection.send(request).expect("a connection");
        let gauge = |proxy: &Proxy| {
            let services = proxy.services.iter();
            let texts = services.map(|it| it.admin().get("/metrics").text().to_owned());
            texts
                .filter(|text| {
                    text.lines().any(|line| {
                        line.starts_with("http_server_active_requests") && line.ends_with(" 1")
                    })
                })
                .count()
        };
        wait_for("the request", || (gauge(proxy) == 1).then_some(()));
        drop(connection);
        let line = wait_for("its line", || {
            let logs = proxy.services.iter().flat_map(|it| it.log());
            let mut lines = logs.filter(|line| line["message"] == "request");
            lines.find(|line| line["route"] == "/slow/{ms}")
        });
        println!("{}: {line}", proxy.name());
        let wanted = if proxy.kind.tells_who_leaves {
            499
        } else {
            200
        };
        (line["status"] != wanted)
            .then(|| format!("{} instead of {wanted}", line["status"]))
            .into_iter()
            .collect()
    });
}
