#!/usr/bin/env bash
# A program that Rust 1.95 compiles cannot be installed with `cargo install --locked` there: the Cargo.lock in its package was
# made with a newer Rust.
#
# Software: cargo 1.95.0 with cargo-generate 0.26.0 from crates.io.
# Expected: --locked is the careful way to install a program, with the versions that its authors tested. The flag does not need
#   a newer compiler than the program itself.
# Instead: two dependencies in its Cargo.lock need Rust 1.96 and 1.97, and the installation fails after the download of all of
#   them. Its Cargo.toml also allows older versions, which cargo chooses for a package with `rust-version = "1.95"`.
# Who is hurt: CI and documentation that install tools with --locked and a fixed Rust: a patch of the tool can end the support.
#
# Seen 2026-11-30: "with --locked: exit code 101: 1.95.0 is not supported by cargo-util-schemas@0.14.3 kstring@2.0.5",
#   "in a package for this Rust: cargo-util-schemas 0.14.1, kstring 2.0.2".
#
# Exits with 0 while this holds, with a Rust from 1.94 to 1.96.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
code=0
CARGO_TARGET_DIR=$place/target cargo install cargo-generate@=0.26.0 --locked --root "$place" >log 2>&1 || code=$?
refused=$(sed -n 's/^ *\(.*@.*\) requires rustc .*/\1/p' log | tr '\n' ' ')
echo "with --locked: exit code $code: $(rustc --version | cut -d ' ' -f 2) is not supported by $refused"

# Versions for this compiler, as the resolver of edition 2024 chooses them.
cargo init --quiet --vcs none --edition 2024 --name resolved .
rust=$(rustc --version | cut -d ' ' -f 2)
sed -i "s/^edition/rust-version = \"${rust%.*}\"\nedition/" Cargo.toml
echo 'cargo-generate = { version = "=0.26.0", default-features = false }' >>Cargo.toml
cargo generate-lockfile --quiet
version() { grep --after-context=1 "^name = \"$1\"" Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p'; }
echo "in a package for this Rust: cargo-util-schemas $(version cargo-util-schemas), kstring $(version kstring)"
if [ "$code" -ne 0 ] && [[ $refused == *cargo-util-schemas@0.14.3* && $refused == *kstring@2.0.5* ]] &&
    [ "$(version cargo-util-schemas)" != 0.14.3 ] && [ "$(version kstring)" != 2.0.5 ]; then exit 0; fi
cat log
exit 1
