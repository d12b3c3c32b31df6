#!/usr/bin/env bash
# hyper-util 0.1.21 with hyper 1.12.0, seen 2026-11-30.
#
# One would expect: a server whose hyper_util::server::conn::auto::Builder has http1_only() serves HTTP/1 only.
#
# What happens instead: it depends on the call that follows. serve_connection() ends a connection that begins HTTP/2.
# serve_connection_with_upgrades(), which WebSockets need, answers the request over HTTP/2, though
# is_http2_available() is false. Of the other direction, http2_only(), the same call answers HTTP/1. The documentation
# of both methods says so in a line, and nothing warns. An upgrade of HTTP/1 has no other call in this builder.
#
#   serve_connection:               HTTP/2 not served, HTTP/1 served, is_http2_available false
#   serve_connection_with_upgrades: HTTP/2 served, HTTP/1 served, is_http2_available false
#
# Hurt: servers that switch HTTP/2 off by this method, for its costs or because a proxy in front must not use it, and that
# serve WebSockets too. They have to look at the first bytes themselves, or use hyper's http1::Builder.
set -euo pipefail
work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
http-body-util = "=0.1.5"
hyper = "=1.12.0"
hyper-util = { version = "=0.1.21", features = ["server-auto", "tokio"] }
tokio = { version = "1", features = ["net", "rt", "macros"] }
[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let upgrades = std::env::args().nth(1).as_deref() == Some("upgrades");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Builder::new(TokioExecutor::new()).http1_only();
    println!("{} {}", listener.local_addr().unwrap(), builder.is_http2_available());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let builder = builder.clone();
        tokio::spawn(async move {
            let service = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            });
            let io = TokioIo::new(stream);
            let _ = match upgrades {
                true => builder.serve_connection_with_upgrades(io, service).await,
                false => builder.serve_connection(io, service).await,
            };
        });
    }
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"

try() {
    "$work/target/debug/finding" "$1" >"$work/$1" &
    server=$!
    until [ -s "$work/$1" ]; do kill -0 "$server"; sleep 0.1; done
    read -r address available <"$work/$1"
    local served
    for version in http2-prior-knowledge http1.1; do
        served=$(curl --silent --max-time 5 "--$version" "http://$address/" || true)
        printf '%s ' "${served:-nothing}"
    done
    echo "$available"
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
}
plain=$(try plain)
upgrades=$(try upgrades)
echo "serve_connection: over HTTP/2, over HTTP/1, is_http2_available: $plain"
echo "serve_connection_with_upgrades: $upgrades"
[ "$plain" = "nothing hello false" ] && [ "$upgrades" = "hello hello false" ]
