//! The public APIs of the crates in `listing.txt`, `auth.txt`, `logs.txt`, `otlp.txt`, `server.txt`, `settings.txt` and `testing.txt`: reviewers see every change of them.
//! `UPDATE_SNAPSHOTS=1 cargo test --package api -- --ignored` writes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use public_api::{Builder, PublicApi};

/// Crates whose types are part of our own API, as docs/compatibility.md lists them: a new major version of one is a new one
/// of ours. Those that are limited to some lines have words of these lines.
const FOREIGN: [(&str, &[&str]); 18] = [
    (
        "aide",
        &[
            "axum_chassis::aide",
            "::openapi::",
            "operation::Operation",
            "::GenContext",
            "::RequireToken::protect",
        ],
    ),
    ("anyhow", &[]),
    ("axum", &[]),
    ("axum_core", &[]),
    ("bytes", &[]),
    (
        "config",
        &[
            "axum_chassis::config",
            "axum_chassis_settings::config",
            "::source(self",
        ],
    ),
    ("http", &[]),
    ("pin_project_lite", &["core::marker::Unpin"]),
    (
        "prometheus",
        &["axum_chassis::prometheus", "::prometheus_registry(&self)"],
    ),
    ("rustix", &["axum_chassis_testing::"]),
    ("schemars", &[]),
    ("serde_core", &[]),
    ("serde_json", &[]),
    ("tokio", &[]),
    ("tower_layer", &[]),
    ("tower_service", &[]),
    ("tracing_core", &["axum_chassis_logs::Logs::"]),
    (
        "tracing_subscriber",
        &[
            "axum_chassis_logs::Logs::layer",
            "axum_chassis_logs::install_with_layer",
            "axum_chassis_logs::TracingLayer",
            "::Exporter::layer(&self)",
            "::Traces::layer(&self)",
            "::Otlp::layer(&self)",
            "::tracing_layer(self",
        ],
    ),
];
/// The crates of the language, and ours.
const OWN: [&str; 11] = [
    "alloc",
    "axum_chassis",
    "axum_chassis_auth",
    "axum_chassis_logs",
    "axum_chassis_otlp",
    "axum_chassis_server",
    "axum_chassis_settings",
    "axum_chassis_testing",
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
        ("axum-chassis-auth", "auth.txt"),
        ("axum-chassis-logs", "logs.txt"),
        ("axum-chassis-otlp", "otlp.txt"),
        ("axum-chassis-server", "server.txt"),
        ("axum-chassis-settings", "settings.txt"),
        ("axum-chassis-testing", "testing.txt"),
    ]
    .map(|(package, listing)| (api(package), listing));
    let text: String = listings.iter().map(|(api, _)| api.to_string()).collect();
    let named: BTreeSet<_> = text.lines().flat_map(crates).collect();
    let foreign = FOREIGN.map(|(name, _)| name);
    let known: BTreeSet<_> = [&OWN[..], &foreign[..]].concat().into_iter().collect();
    assert_eq!(named, known, "the crates whose types are in the API");
    for (name, places) in FOREIGN.into_iter().filter(|(_, places)| !places.is_empty()) {
        for line in text
            .lines()
            .filter(|line| crates(line).any(|named| named == name))
        {
            let is_allowed = places.iter().any(|place| line.contains(place));
            assert!(is_allowed, "{name} is in: {line}");
        }
    }
    for (api, listing) in listings {
        api.assert_eq_or_update(Path::new(env!("CARGO_MANIFEST_DIR")).join(listing));
    }
}

#[test]
fn the_page_about_compatibility_lists_these_crates() {
    let page = include_str!("../../../docs/compatibility.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let listed: BTreeSet<_> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(listed, FOREIGN.map(|(name, _)| name).into());
}
