//! The archives embedded in the tool, so that it works in any folder and without a network: the newest template with
//! the crate, and the templates of all earlier releases.

use std::collections::BTreeSet;

use anyhow::Context;
use lzma_rust2::LzipReader;

use crate::archive::Archive;

/// The version of the template, of the crate and of this tool.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The crates that are in an archive, and the folders that have them.
pub const CRATES: [(&str, &str); 9] = [
    ("axum-chassis", "crate"),
    ("axum-chassis-auth", "axum-chassis-auth"),
    ("axum-chassis-logs", "axum-chassis-logs"),
    ("axum-chassis-otlp", "axum-chassis-otlp"),
    ("axum-chassis-redis", "axum-chassis-redis"),
    ("axum-chassis-server", "axum-chassis-server"),
    ("axum-chassis-settings", "axum-chassis-settings"),
    ("axum-chassis-sqlx", "axum-chassis-sqlx"),
    ("axum-chassis-testing", "axum-chassis-testing"),
];

/// The archive that build.rs writes from the checkout that the tool is built from; empty without a checkout. It is not
/// compressed: that would make the tool 1.4 MB smaller, but every build would wait for five more crates.
const CURRENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/current.tar"));

/// All releases, with a folder for each. lzip stores the text that they have in common only once.
const RELEASES: &[u8] = include_bytes!("../releases.tar.lz");

/// The newest template (`template/`), with the crate (`crate/`) and the `Cargo.lock` that both were tested with.
///
/// # Errors
///
/// If the tool was built without a valid archive.
pub fn current() -> anyhow::Result<Archive> {
    if CURRENT.is_empty() {
        return released(VERSION);
    }
    Archive::read(CURRENT).context("the tool has no embedded template")
}

/// The same for another version.
///
/// # Errors
///
/// If the tool has no template of that version.
pub fn release(version: &str) -> anyhow::Result<Archive> {
    if version == VERSION {
        return current();
    }
    released(version)
}

fn released(version: &str) -> anyhow::Result<Archive> {
    let releases = read_releases(RELEASES)?;
    let mut versions = versions(&releases);
    if !versions.iter().any(|released| released == version) {
        versions.retain(|released| released != VERSION);
        anyhow::bail!(
            "unknown template version {version}: this tool has {}, {VERSION}. Install a newer one: \
             cargo install --git https://github.com/axum-chassis/axum-chassis cargo-chassis --locked",
            versions.join(", ")
        );
    }
    Ok(releases.folder(version))
}

/// Reads `releases.tar.lz`.
///
/// # Errors
///
/// If it is not such an archive.
pub fn read_releases(bytes: &[u8]) -> anyhow::Result<Archive> {
    Archive::read(LzipReader::new(bytes)).context("cannot read the released templates")
}

/// The versions in an archive of releases, the newest last.
pub fn versions(releases: &Archive) -> Vec<String> {
    let folders = releases.paths().filter_map(|path| path.iter().next());
    let names: BTreeSet<String> = folders
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let mut names = Vec::from_iter(names);
    names.sort_by_key(|name| {
        let numbers = name.split('.').map(str::parse::<u32>);
        numbers.map(Result::unwrap_or_default).collect::<Vec<_>>()
    });
    names
}
