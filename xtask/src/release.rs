//! `cargo xtask release`: archives the template and the crate of this version, for later `cargo chassis update`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use cargo_chassis::archive::Archive;
use cargo_chassis::embedded::{self, VERSION};

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let file = kept(VERSION);
    let now = embedded::current()?;
    if let Ok(bytes) = fs::read(&file) {
        ensure!(
            Archive::from_bytes(&bytes)? == now,
            "{VERSION} is released already, and not as things are now: raise the version in Cargo.toml",
        );
        return Ok(ExitCode::SUCCESS);
    }
    fs::write(&file, now.to_bytes()?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("writing {}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// Where a version is kept, if it is released.
pub(crate) fn kept(version: &str) -> PathBuf {
    crate::root().join(format!("cargo-chassis/releases/{version}.tar.gz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an update of what was made in between would start from something else.
    #[test]
    fn a_template_that_differs_from_its_release_has_another_version() {
        let Ok(bytes) = fs::read(kept(VERSION)) else {
            return; // not released yet: it may change
        };
        let template = |archive: &Archive| -> Vec<(PathBuf, Vec<u8>)> {
            let paths = archive.paths().filter(|path| path.starts_with("template"));
            paths
                .map(|path| {
                    let contents = archive.get(&path.display().to_string());
                    (path.to_owned(), contents.unwrap_or_default().to_owned())
                })
                .collect()
        };
        let released = Archive::from_bytes(&bytes).expect("an archive");
        let now = embedded::current().expect("an archive");
        assert!(
            template(&released) == template(&now),
            "the template has changed since {VERSION} was released: raise the version in Cargo.toml, \
             `cargo xtask sync`"
        );
    }
}
