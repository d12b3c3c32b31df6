//! Requests at the moment when the service closes a connection that has been idle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum_chassis::server;

use crate::behind_each;
use crate::client::Client;
use crate::kinds::Upstream;
use crate::proxy::{Setup, page, section};

/// The service's idle timeout: short, so that it closes many connections during the test.
const IDLE: Duration = Duration::from_millis(100);
const SETUP: Setup = Setup {
    settings: &[("server.idle_timeout", "100ms")],
    upstreams: &[Upstream::H2c],
    checked: false,
    edits: &[],
};
#[test]
#[ignore = "needs haproxy, apache2, caddy and traefik"]
fn no_post_over_http2_fails_when_the_service_closes_the_connection() {
    posts(100);
}

/// Over HTTP/1.1 nobody can tell a proxy in time, so the service has to be the one that waits longer.
#[test]
fn the_service_keeps_idle_connections_longer_than_proxies_do() {
    let default = *server::Settings::default().idle_timeout;
    let mut rows = 0;
    for row in section(&page(), "keeps").lines().skip(2) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let seconds = cells[2].strip_suffix(" s").and_then(|it| it.parse().ok());
        let kept = Duration::from_secs(seconds.unwrap_or_else(|| panic!("no seconds: {row}")));
        assert!(
            kept < default,
            "{}: {kept:?}, and {default:?} by default",
            cells[1]
        );
        rows += 1;
    }
    assert_eq!(rows, 8);
}

/// POSTs one after the other, each about [`IDLE`] after the answer before: from 1 ms less to 4 ms more.
pub(crate) fn posts(count: u32) {
    behind_each(SETUP, |proxy| {
        let (mut client, mut seen) = (Client::default(), BTreeMap::<_, u32>::new());
        for number in 0..count {
            let answer = client.request(proxy.port, "POST", "/echo", b"tea");
            let answered = Instant::now();
            let status = match answer {
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.to_string(),
            };
            *seen.entry(status).or_default() += 1;
            let late = Duration::from_millis(5) * number / count;
            let due = answered + IDLE - Duration::from_millis(1) + late;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let failed: u32 = seen
            .iter()
            .filter(|(it, _)| *it != "200")
            .map(|it| it.1)
            .sum();
        let unsent = proxy
            .kind
            .unsent
            .map_or(0, |line| proxy.log().matches(line).count());
        println!("{}: {seen:?}, {unsent} not sent", proxy.name());
        let excused = proxy.ignores_goaway() || failed as usize == unsent;
        (!excused)
            .then(|| format!("{seen:?}, {unsent} of them not sent"))
            .into_iter()
            .collect()
    });
}
