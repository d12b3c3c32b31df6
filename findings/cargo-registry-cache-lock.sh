#!/usr/bin/env bash
# Cargo's lock on downloads is not in `registry/`: two builds that share this folder as a cache mount lock nothing, and one fails.
#
# Software: cargo 1.95.0, on a folder shared as `RUN --mount=type=cache,target=/usr/local/cargo/registry` shares it (two homes,
#   each with `registry` linked to one folder). 9 pinned crates (crates.io) and what they depend on.
# Expected: the processes take turns ("Blocking waiting for file lock on package cache"), as with one home. Guides mount
#   `registry/` and `git/` with BuildKit's default, `sharing=shared`, for this reason.
# Instead: the lock is `.package-cache` in Cargo's home itself, which the mounts leave out. Both processes unpack the same crates
#   at once, each deletes what the other has not finished, and one ends with "failed to unpack package". With the whole home
#   shared, both succeed.
# Who is hurt: CI machines that build two images at once on an empty cache. The error names a crate, and a second try succeeds.
#   Remedy: share all of CARGO_HOME, use `sharing=locked`, or link `.package-cache` into the mount.
#
# Seen 2026-11-30: "registry/ shared: 5 of 5 rounds fail, 0 wait; home shared: 0 of 5 rounds fail".
#
# Exits with 0 while this holds: at least one round fails without waiting, and none with one home.
set -euo pipefail

command -v cargo >/dev/null || { echo "needs cargo" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo --version
cd "$folder"

mkdir -p a/src b
echo >a/src/lib.rs
cat >a/Cargo.toml <<'TOML'
[package]
name = "fetches"
version = "0.1.0"
edition = "2021"
[dependencies]
aws-lc-sys = "=0.30.0"
axum = "=0.8.4"
libsqlite3-sys = "=0.35.0"
linux-raw-sys = "=0.9.4"
openssl-src = "=300.5.1"
ring = "=0.17.14"
web-sys = "=0.3.77"
windows = "=0.61.3"
windows-sys = "=0.60.2"
TOML
(cd a && CARGO_HOME=$folder/first cargo generate-lockfile --quiet)
cp -r a/. b

# One `cargo fetch` in project $1 with the home $2; its exit code.
fetch() {
  local code=0
  (cd "$1" && CARGO_HOME=$folder/$2 cargo fetch --locked) >"$1.log" 2>&1 || code=$?
  echo "$code" >"$1.code"
}

failed=0 waited=0 failed_together=0
for _ in 1 2 3 4 5; do
  rm -rf home-a home-b registry home
  mkdir home-a home-b registry home
  ln -s ../registry home-a/registry
  ln -s ../registry home-b/registry
  fetch a home-a & fetch b home-b & wait
  [ "$(cat a.code b.code)" = "$(printf '0\n0')" ] || failed=$((failed + 1))
  ! grep -q Blocking a.log b.log || waited=$((waited + 1))
  grep -h '^error' a.log b.log >&2 || true

  fetch a home & fetch b home & wait
  [ "$(cat a.code b.code)" = "$(printf '0\n0')" ] || failed_together=$((failed_together + 1))
done
echo "registry/ shared: $failed of 5 rounds fail, $waited wait; home shared: $failed_together of 5 rounds fail"
[ "$failed" -gt 0 ] && [ "$waited" = 0 ] && [ "$failed_together" = 0 ]
