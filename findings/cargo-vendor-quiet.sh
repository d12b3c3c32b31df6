#!/usr/bin/env bash
# `cargo vendor --quiet` does not print the configuration, which is its result.
#
# Software: cargo 1.95.0.
# Expected: --quiet leaves out messages ("Do not print cargo log messages"). The configuration for the vendored crates goes to
#   stdout, and people redirect it to .cargo/config.toml, as the manual describes.
# Instead: with --quiet, or with CARGO_TERM_QUIET=true, stdout is empty and the exit code is 0.
# Who is hurt: scripts with `cargo vendor --quiet >.cargo/config.toml`. The file is empty, and Cargo goes on to use the registry. On
#   a machine with a network, the build succeeds with downloaded crates, and nobody notices.
#
# Seen 2026-11-30: "lines of configuration: 4 without --quiet, 0 with it, 0 with CARGO_TERM_QUIET".
#
# Exits with 0 while this holds.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cargo init --quiet --vcs none --name vendored .
cargo add --quiet itoa@=1.0.15
lines() { "$@" 2>/dev/null | grep --count . || true; }
plain=$(lines cargo vendor)
quiet=$(lines cargo vendor --quiet)
configured=$(lines env CARGO_TERM_QUIET=true cargo vendor)
echo "lines of configuration: $plain without --quiet, $quiet with it, $configured with CARGO_TERM_QUIET"
[ -d vendor/itoa ] && [ "$plain" -gt 3 ] && [ "$quiet" -eq 0 ] && [ "$configured" -eq 0 ]
