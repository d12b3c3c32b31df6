#!/usr/bin/env bash
# The crate prometheus 0.14.0, seen 2026-11-30.
#
# One would expect: a counter with two labels has one series for each pair of values.
#
# What happens instead: pairs whose values are the same text when written in a row share one series, which has the labels of
# the pair that came first. The crate keys series by a hash over the values without a separator, and does not compare the values
# themselves. No call fails.
#
#   cellar1, 3: 3; cellar, 13: 3; series exposed: 1
#   moves_total{room="cellar1",shelf="3"} 3
#
# Hurt: services with labels such as numbered rooms and shelves, shards and partitions, or values that may be empty: their sum is
# right, and a series is missing. Metrics with constant labels, one for each pair, are kept apart.
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
prometheus = { version = "=0.14.0", default-features = false }
[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};

fn main() {
    let registry = Registry::new();
    let moves = IntCounterVec::new(Opts::new("moves_total", "Moves."), &["room", "shelf"]).unwrap();
    registry.register(Box::new(moves.clone())).unwrap();
    let first = moves.with_label_values(&["cellar1", "3"]);
    first.inc_by(1);
    let second = moves.with_label_values(&["cellar", "13"]);
    second.inc_by(2);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let (first, second) = (first.get(), second.get());
    println!("cellar1, 3: {first}; cellar, 13: {second}; series exposed: {}", series.len());
    println!("{}", series.join("\n"));
}
RUST
seen=$(cargo run --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target")
echo "$seen"
[ "$seen" = 'cellar1, 3: 3; cellar, 13: 3; series exposed: 1
moves_total{room="cellar1",shelf="3"} 3' ]
