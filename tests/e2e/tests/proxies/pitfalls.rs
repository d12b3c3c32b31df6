//! The pitfalls in docs/proxies.md: each configuration with one line removed, and the effect.

use std::io;
use std::time::Duration;

use e2e::wait_for;

use crate::DEFAULT;
use crate::client::{Answer, Client};
use crate::kinds::{Kind, Upstream};
use crate::proxy::{Proxy, Setup};

fn launch(name: &str, edits: &'static [[&'static str; 2]]) -> Proxy {
    let setup = Setup { edits, ..DEFAULT };
    Proxy::launch(Kind::named(name), Upstream::Http1, setup)
}

fn start(name: &str, edits: &'static [[&'static str; 2]]) -> Proxy {
    let proxy = launch(name, edits);
    proxy.wait_for_all();
    proxy
}

fn get(proxy: &Proxy, path: &str) -> io::Result<Answer> {
    Client::default().request(proxy.port, "GET", path, b"")
}

fn wait_for_status(proxy: &Proxy, status: u16) {
    wait_for(&format!("{status} of {}", proxy.name()), || {
        let answer = get(proxy, "/").ok()?;
        (answer.status == status).then_some(())
    });
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_takes_every_service_down_whose_check_is_options_or_has_no_host() {
    const SEND: &str =
        "    http-check send meth GET uri /health/readiness ver HTTP/1.1 hdr Host orders\n";
    for edits in [&[[SEND, ""]], &[[" hdr Host orders", ""]]] {
        wait_for_status(&launch("haproxy", edits), 503);
    }
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_without_abortonclose_lets_a_request_run_whose_client_has_left() {
    let proxy = start("haproxy", &[["    option abortonclose\n", ""]]);
    let mut connection = proxy.connect();
    let request = b"GET /slow/1500 HTTP/1.1\r\nhost: orders\r\n\r\n";
    connection.send(request).expect("a connection");
    drop(connection);
    let line = wait_for("its line", || {
        let mut logs = proxy.services.iter().flat_map(|it| it.log());
        logs.find(|line| line["route"] == "/slow/{ms}")
    });
    assert_eq!(line["status"], 200, "{line}");
}

#[test]
#[ignore = "needs nginx"]
fn nginx_with_its_default_of_max_fails_has_no_service_left_after_two_restarts_in_ten_seconds() {
    let mut proxy = start("nginx", &[[" max_fails=0", ""]]);
    let mut statuses = Vec::new();
    for index in [0, 1] {
        proxy.restart_and(index, |proxy| {
            for _ in 0..4 {
                statuses.push(get(proxy, "/").expect("an answer").status);
            }
        });
    }
    assert_eq!(statuses[..4], [200; 4]);
    assert!(statuses[4..].contains(&502), "{statuses:?}");
    assert!(proxy.log().contains("no live upstreams"));
}

#[test]
#[ignore = "needs nginx"]
fn nginx_by_default_refuses_bodies_over_a_megabyte_without_the_service() {
    let proxy = start("nginx", &[["    client_max_body_size 0;\n", ""]]);
    let body = vec![b'a'; 1_100_000];
    let answer = proxy.connect().request("POST", "/nowhere", "", &body);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("content-type"), Some("text/html"));
}

#[test]
#[ignore = "needs nginx"]
fn nginx_holds_events_back_with_http_1_0() {
    let proxy = start("nginx", &[["        proxy_http_version 1.1;\n", ""]]);
    let mut connection = proxy.connect();
    connection.timeout(Duration::from_secs(1));
    let request = b"GET /events HTTP/1.1\r\nhost: orders\r\n\r\n";
    connection.send(request).expect("a connection");
    let event = connection.head().and_then(|_| connection.chunk());
    assert!(event.is_err(), "{event:?}");
}

#[test]
#[ignore = "needs varnish"]
fn varnish_without_pass_answers_from_its_cache_for_two_minutes() {
    let proxy = launch("varnish", &[["    return (pass);\n", ""]]);
    wait_for_status(&proxy, 200);
    let answers = [(); 4].map(|()| get(&proxy, "/").expect("an answer").body);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
#[ignore = "needs apache2"]
fn apache_without_retry_0_leaves_a_service_out_that_has_restarted() {
    const CHECKS: &str = " retry=0 ttl=60 hcmethod=GET hcuri=/health/readiness hcinterval=500ms";
    let mut proxy = start("apache", &[[CHECKS, ""]]);
    let ids = |proxy: &Proxy| [(); 6].map(|()| get(proxy, "/").expect("an answer").body);
    proxy.restart_and(0, |proxy| {
        ids(proxy);
    });
    let restarted = proxy.services[0].id().to_string();
    assert!(!ids(&proxy).contains(&restarted));
}

#[test]
#[ignore = "needs caddy and traefik"]
fn caddy_and_traefik_without_checks_send_requests_to_a_service_that_is_gone() {
    const CADDY: &str = "        health_uri /health/readiness\n        health_interval 500ms\n        lb_try_duration 5s\n";
    const TRAEFIK: &str = "        healthCheck:\n          path: /health/readiness\n          interval: 500ms\n          timeout: 2s\n";
    for mut proxy in [
        start("caddy", &[[CADDY, ""]]),
        start("traefik", &[[TRAEFIK, ""]]),
    ] {
        proxy.restart_and(0, |proxy| wait_for_status(proxy, 502));
    }
}
