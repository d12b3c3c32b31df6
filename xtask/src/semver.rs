//! `cargo xtask semver`: fails if the public API has a breaking change that the version does not allow.
//!
//! It needs `cargo install cargo-semver-checks@0.51.0 --locked`. Before 1.0, a new minor version allows breaking changes.

use anyhow::{Context, ensure};
use cargo_chassis::embedded::{self, CRATES};

use crate::release;
use crate::tools::cargo;

pub(crate) fn run() -> anyhow::Result<()> {
    let root = crate::root();
    let releases = release::releases()?;
    let versions = embedded::versions(&releases);
    let version = versions.last().context("nothing is released")?;
    let released = releases.folder(version);
    let place = tempfile::tempdir()?;
    for (package, folder) in CRATES {
        released.unpack(folder, &place.path().join(package))?;
    }
    for (package, folder) in CRATES {
        if released.get(&format!("{folder}/Cargo.toml")).is_none() {
            println!("{package} is new");
            continue;
        }
        let mut check = cargo(&root);
        check
            .args(["semver-checks", "--all-features", "--package", package])
            .arg("--baseline-root")
            .arg(place.path().join(package));
        let status = check.status().context("cannot start cargo")?;
        ensure!(
            status.success(),
            "{package} differs from {version}, or cargo-semver-checks is not installed: see above",
        );
    }
    Ok(())
}
