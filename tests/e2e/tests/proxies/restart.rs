//! Rolling restarts behind proxies that check the service's health.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::proxy::{Proxy, Setup};
use crate::{DEFAULT, behind_each};

/// Clients of each proxy.
const CLIENTS: usize = 8;
/// The pause of each client between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// The service's own default, which the test kit replaces.
const SETUP: Setup = Setup {
    settings: &[("shutdown.delay", "")],
    ..DEFAULT
};

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn no_request_fails_while_one_service_after_the_other_restarts() {
    restarts(3);
}

pub(crate) fn restarts(rounds: usize) {
    behind_each(SETUP, |proxy| {
        let (load, mut problems) = (Load::default(), Vec::new());
        std::thread::scope(|scope| {
            let (load, port) = (&load, proxy.port);
            for _ in 0..CLIENTS {
                scope.spawn(move || load.run(port));
            }
            // Also when something panics.
            let _end = End(load);
            for index in (0..rounds).flat_map(|_| 0..2) {
                problems.extend(proxy.restart(index));
                proxy.wait_for_all();
            }
        });
        let failures = load.failures(proxy);
        if !proxy.ignores_goaway() {
            problems.extend(failures);
        }
        problems
    });
}

/// Dropped, it ends the load.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Load {
    over: AtomicBool,
    seen: Mutex<BTreeMap<String, usize>>,
}

impl Load {
    fn run(&self, port: u16) {
        let mut client = Client::default();
        let requests = [
            ("GET", "/"),
            ("POST", "/echo"),
            ("GET", "/slow/150"),
            ("POST", "/slow/150"),
        ];
        for (method, path) in requests.into_iter().cycle() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let body: &[u8] = if method == "GET" { b"" } else { b"tea" };
            let answer = client.request(port, method, path, body);
            let seen = match answer {
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.to_string(),
            };
            let seen = format!("{method} {path}: {seen}");
            *self.seen.lock().expect("no panic").entry(seen).or_default() += 1;
            std::thread::sleep(PAUSE);
        }
    }

    fn failures(&self, proxy: &Proxy) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic");
        let total: usize = seen.values().sum();
        let wrong: Vec<_> = seen
            .iter()
            .filter(|(seen, _)| !seen.ends_with(": 200"))
            .collect();
        let failed: usize = wrong.iter().map(|(_, count)| **count).sum();
        println!("{}: {failed} of {total} failed", proxy.name());
        wrong
            .iter()
            .map(|(seen, count)| format!("{count} times {seen}"))
            .collect()
    }
}
