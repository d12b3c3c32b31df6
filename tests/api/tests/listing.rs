//! The public APIs of the crates in `listing.txt` and `settings.txt`: reviewers see every change of them.
//! `UPDATE_SNAPSHOTS=1 cargo test --package api -- --ignored` writes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use public_api::{Builder, PublicApi};

/// Crates whose types are part of our own API: a new major version of one is a new one of ours.
const FOREIGN: [&str; 18] = [
    "aide", // only with the feature `openapi`
    "anyhow",
    "axum",
    "axum_core",
    "bytes",
    "config",
    "http",
    "pin_project_lite", // in a bound that it writes itself
    "prometheus",
    "rustix", // the test kit's signals
    "schemars",
    "serde_core",
    "serde_json",
    "tokio",
    "tower_layer",
    "tower_service",
    "tracing_core",
    "tracing_subscriber", // layers beside the log
];
/// The crates of the language, and ours.
const OWN: [&str; 6] = [
    "alloc",
    "axum_chassis",
    "axum_chassis_settings",
    "core",
    "std",
    "u64",
];

/// A crate's API with all features, by rustdoc's JSON. A stable rustdoc writes that only if it is made to
/// take itself for a nightly one; apart from the other builds, which that would have compile anew.
fn api(package: &str) -> PublicApi {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("target/api");
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .args([
            "rustdoc",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--lib",
            "--all-features",
        ])
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .status();
    assert!(status.expect("cargo").success(), "no documentation");
    Builder::from_rustdoc_json(target.join(format!("doc/{}.json", package.replace('-', "_"))))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .expect("JSON as Rust 1.95 writes it")
}

/// The crates that a line of the listing names: `axum` of `axum::routing::Router`.
fn crates(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .filter_map(|path| path.split_once("::"))
        .map(|(first, _)| first)
        .filter(|first| first.starts_with(char::is_lowercase))
}

#[test]
#[ignore = "needs Rust 1.95, whose JSON it reads, and a minute"]
fn the_public_api_equals_its_listing() {
    let listings = [
        ("axum-chassis", "listing.txt"),
        ("axum-chassis-settings", "settings.txt"),
    ]
    .map(|(package, listing)| (api(package), listing));
    let text: String = listings.iter().map(|(api, _)| api.to_string()).collect();
    let named: BTreeSet<_> = text.lines().flat_map(crates).collect();
    let known: BTreeSet<_> = [&OWN[..], &FOREIGN[..]].concat().into_iter().collect();
    assert_eq!(named, known, "the crates whose types are in the API");
    for (api, listing) in listings {
        api.assert_eq_or_update(Path::new(env!("CARGO_MANIFEST_DIR")).join(listing));
    }
}
