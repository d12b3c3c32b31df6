#!/usr/bin/env bash
# rustc 1.95.0, target specifications as `rustc --print target-spec-json` has them; executables of 1.98.1. Seen 2026-11-30.
#
# One would expect: with `-C target-feature=+crt-static`, an executable is position-independent on every Linux target whose
# executables are position-independent otherwise, so that ASLR moves its code: on x86-64 it is (static-pie).
#
# What happens instead: only x86-64 says `static-position-independent-executables`. For arm64, 32-bit ARM, RISC-V, PowerPC
# and s390x, glibc or musl, the same flags give an executable of type EXEC at fixed addresses, without a warning.
# Debian's rustc 1.98.1 with gcc for aarch64 was seen to write EXEC for +crt-static and DYN for -crt-static.
#
#   x86_64-unknown-linux-gnu        pie, static-pie
#   x86_64-unknown-linux-musl       pie, static-pie
#   aarch64-unknown-linux-gnu       pie
#   aarch64-unknown-linux-musl      pie
#   riscv64gc-unknown-linux-gnu     pie
#   armv7-unknown-linux-gnueabihf   pie
#
# Hurt: whoever builds one static image for amd64 and arm64 and counts on ASLR on both.
set -euo pipefail

expected='x86_64-unknown-linux-gnu pie static-pie
x86_64-unknown-linux-musl pie static-pie
aarch64-unknown-linux-gnu pie
aarch64-unknown-linux-musl pie
riscv64gc-unknown-linux-gnu pie
armv7-unknown-linux-gnueabihf pie'

rustc --version
seen=$(cut -d ' ' -f 1 <<<"$expected" | while read -r target; do
    # A flag of nightly; it only prints.
    specification=$(RUSTC_BOOTSTRAP=1 rustc -Z unstable-options --print target-spec-json --target "$target")
    kinds=$target
    grep -q '"position-independent-executables": true' <<<"$specification" && kinds+=' pie'
    grep -q '"static-position-independent-executables": true' <<<"$specification" && kinds+=' static-pie'
    printf '%s\n' "$kinds"
done)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'This has changed. It was:\n%s\n' "$expected" >&2
    exit 1
fi
