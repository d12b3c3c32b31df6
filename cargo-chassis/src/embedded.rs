//! The archives embedded in the tool, so that it works in any folder and without a network: the newest template with
//! the crate, and the templates of all earlier releases.

use anyhow::{Context, bail};

use crate::archive::Archive;

/// The version of the template, of the crate and of this tool.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The crates that are in an archive, and the folders that have them.
pub const CRATES: [(&str, &str); 4] = [
    ("axum-chassis", "crate"),
    ("axum-chassis-redis", "axum-chassis-redis"),
    ("axum-chassis-settings", "axum-chassis-settings"),
    ("axum-chassis-sqlx", "axum-chassis-sqlx"),
];

/// Made by build.rs from the checkout that the tool is built from.
const CURRENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/current.tar.gz"));

/// The archives of `releases/`, by version.
const RELEASED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/released.rs"));

/// The newest template (`template/`), with the crate (`crate/`) and the `Cargo.lock` that both were tested with.
///
/// # Errors
///
/// If the tool was built wrong.
pub fn current() -> anyhow::Result<Archive> {
    Archive::from_bytes(CURRENT).context("the tool has no embedded template")
}

/// The same of another version.
///
/// # Errors
///
/// If the tool has no template of that version.
pub fn release(version: &str) -> anyhow::Result<Archive> {
    if version == VERSION {
        return current();
    }
    match RELEASED.iter().find(|(released, _)| *released == version) {
        Some((_, bytes)) => Archive::from_bytes(bytes)
            .with_context(|| format!("cannot read the template {version}")),
        None => bail!(
            "unknown template version {version}: this tool has {}. Install a newer one: \
             cargo install --git https://github.com/axum-chassis/axum-chassis cargo-chassis --locked",
            versions().join(", ")
        ),
    }
}

/// Every version of [`release`], the newest last.
pub fn versions() -> Vec<&'static str> {
    let released = RELEASED.iter().map(|(version, _)| *version);
    released.chain([VERSION]).collect()
}
