//! `cargo xtask semver`: fails where whoever took the last release would have to change a line, and no version says so.
//!
//! `cargo install cargo-semver-checks@0.51.0 --locked` has what it calls. Before 1.0 a new minor version says so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cargo_chassis::archive::Archive;

use crate::tools::cargo;

/// The packages that others build on, and where an archive has them.
const PACKAGES: [(&str, &str); 3] = [
    ("axum-chassis", "crate"),
    ("axum-chassis-redis", "axum-chassis-redis"),
    ("axum-chassis-sqlx", "axum-chassis-sqlx"),
];

pub(crate) fn run() -> anyhow::Result<()> {
    let root = crate::root();
    let file = newest(&root.join("cargo-chassis/releases"))?;
    let released = Archive::from_bytes(&fs::read(&file)?)?;
    let place = tempfile::tempdir()?;
    for (package, folder) in PACKAGES {
        released.unpack(folder, &place.path().join(package))?;
    }
    for (package, _) in PACKAGES {
        let mut check = cargo(&root);
        check
            .args(["semver-checks", "--all-features", "--package", package])
            .arg("--baseline-root")
            .arg(place.path().join(package));
        let status = check.status().context("cannot start cargo")?;
        ensure!(
            status.success(),
            "{package} differs from {}, or cargo-semver-checks is not installed: see above",
            file.display()
        );
    }
    Ok(())
}

/// The archive of the highest version.
fn newest(releases: &Path) -> anyhow::Result<PathBuf> {
    let files = fs::read_dir(releases)?.collect::<Result<Vec<_>, _>>()?;
    let files = files.into_iter().map(|file| file.path());
    files
        .max_by_key(|file| version(file))
        .context("nothing is released")
}

/// The numbers of `1.20.3.tar.gz`.
fn version(file: &Path) -> Vec<u64> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}
