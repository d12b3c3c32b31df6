#!/usr/bin/env bash
# cargo-generate asks for a placeholder named `empty`, `blank` or `nil`, accepts the answer, and renders nothing.
#
# Software: cargo-generate 0.26.0, with liquid 0.26.
# Expected: `{{blank}}` renders the answer, or cargo-generate refuses the name, as it refuses a placeholder named `os-arch`.
# Instead: Liquid reads the three names as literals before it looks for a variable. cargo-generate prints the answer as the value
#   of the placeholder, writes files without it, and ends with success. `{% if empty == "yes" %}` is never true.
# Who is affected: authors of templates with such a question, or with such a variable set by a hook.
#
# Seen 2026-11-30: "empty=[] blank=[] nil=[] size=[s] condition=[false]".
#
# Exits with 0 while this holds.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/template" "$place/out" "$place/program/src"
cd "$place/program"
cat >Cargo.toml <<'TOML'
[package]
name = "program"
version = "0.1.0"
edition = "2024"

[dependencies]
cargo-generate = { version = "=0.26.0", default-features = false }

[profile.dev]
debug = false
TOML
cat >src/main.rs <<'RUST'
use cargo_generate::{GenerateArgs, TemplatePath, Vcs};

fn main() {
    let [template, out] = ["../template", "../out"].map(String::from);
    let path = TemplatePath { path: Some(template), ..TemplatePath::default() };
    let define = ["empty=yes", "blank=b", "nil=n", "size=s"].map(String::from).to_vec();
    cargo_generate::generate(GenerateArgs {
        template_path: path,
        name: Some("made".into()),
        destination: Some(out.into()),
        config: Some("/dev/null".into()),
        silent: true,
        no_workspace: true,
        vcs: Some(Vcs::None),
        define,
        ..GenerateArgs::default()
    })
    .expect("a project");
}
RUST
for name in empty blank nil size; do
  printf '[placeholders.%s]\ntype = "string"\nprompt = "%s?"\n' "$name" "$name"
done >"$place/template/cargo-generate.toml"
echo 'empty=[{{empty}}] blank=[{{blank}}] nil=[{{nil}}] size=[{{size}}] condition=[{% if empty == "yes" %}true{% else %}false{% endif %}]' \
  >"$place/template/file.txt"
CARGO_NAME=author CARGO_TARGET_DIR=$place/target cargo run --quiet
seen=$(cat "$place/out/made/file.txt")
echo "$seen"
[ "$seen" = "empty=[] blank=[] nil=[] size=[s] condition=[false]" ]
