#!/usr/bin/env bash
# With cargo-chef, a program whose source did not reach the build is compiled all the same: it is empty, and exits with 0.
#
# Software: cargo-chef 0.1.78 (crates.io), in the order of steps that its README recommends.
# Expected: a source that the manifest names and that is missing (left out by .dockerignore, say) is the error that cargo
#   gives: "can't find bin".
# Instead: `cargo chef prepare` has the program in its recipe, because the manifest names it; `cargo chef cook` writes an
#   empty `fn main() {}` in its place, and the sources that are copied over it afterwards do not replace what they lack.
#   `cargo build` succeeds, and so does the program, without doing anything.
# Who is hurt: whoever has a program outside of src/ and an allow-list as .dockerignore: the image builds, and its container
#   ends at once with exit code 0. Remedy: `rm -r` the folder after `cook`, before the sources are copied.
#
# Seen 2026-11-30: "cargo alone: 101; after cook: 0; the program: 0, printed nothing".
#
# Exits with 0 while this holds.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo install --quiet --locked --debug --root "$folder/tools" cargo-chef@0.1.78
export PATH=$folder/tools/bin:$PATH CARGO_TARGET_DIR=$folder/target

# What of a project reaches the build: not app/main.rs, which prints a line.
mkdir -p "$folder/context" "$folder/build"
cat >"$folder/context/Cargo.toml" <<'TOML'
[package]
name = "server"
version = "0.1.0"
edition = "2021"
[[bin]]
name = "server"
path = "app/main.rs"
TOML
cat >"$folder/context/Cargo.lock" <<'TOML'
version = 4

[[package]]
name = "server"
version = "0.1.0"
TOML

status() { local code=0; "$@" >"$folder/log" 2>&1 || code=$?; echo "$code"; }
alone=$(cd "$folder/context" && status cargo build --quiet --locked --release)
(cd "$folder/context" && cargo chef prepare --recipe-path "$folder/build/recipe.json" 2>/dev/null)
cd "$folder/build"
cargo chef cook --release --recipe-path recipe.json >/dev/null 2>&1
cp -r "$folder/context/." .
cooked=$(status cargo build --quiet --locked --release)
program=$(status "$folder/target/release/server")
seen="cargo alone: $alone; after cook: $cooked; the program: $program, printed $([ -s "$folder/log" ] && echo something || echo nothing)"
echo "$seen"
[ "$seen" = "cargo alone: 101; after cook: 0; the program: 0, printed nothing" ]
