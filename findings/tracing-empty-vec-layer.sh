#!/usr/bin/env bash
# tracing-subscriber 0.3.23 with tracing 0.1.44, seen 2026-11-30.
#
# One would expect: a Vec of layers is each of its layers, so an empty one adds nothing, as an Option that is None does.
#
# What happens instead: an empty Vec switches off every event and span of the whole subscriber, also for the layers beside
# it, above or below. There is no error: the process logs nothing. With one layer in it that does nothing (Identity), all
# lines are there.
#
#   None: 1 line, empty Vec above: 0 lines, empty Vec below: 0 lines, Vec with Identity: 1 line
#
# Hurt: programs that collect optional layers in a Vec, as the crate's documentation recommends for a number of layers that
# is only known at run time, and that start once without any of them: they have no log from then on, and no reason.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
tracing = "=0.1.44"
tracing-subscriber = { version = "=0.3.23", default-features = false, features = ["fmt", "registry", "std"] }
[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use tracing_subscriber::layer::{Identity, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("none") => registry().with(fmt::layer()).with(None::<Identity>).init(),
        Some("above") => registry().with(fmt::layer()).with(Vec::<Identity>::new()).init(),
        Some("below") => registry().with(Vec::<Identity>::new()).with(fmt::layer()).init(),
        _ => registry().with(fmt::layer()).with(vec![Identity::new()]).init(),
    }
    tracing::error!("the line");
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"

seen=
for case in none above below identity; do
    lines=$("$work/target/debug/finding" "$case" | grep -c 'the line' || true)
    echo "$case: $lines"
    seen="$seen$lines"
done
[ "$seen" = 1001 ]
