//! `cargo xtask release`: archives the template and the crate of this version, for later `cargo chassis update`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use cargo_chassis::archive::Archive;
use cargo_chassis::embedded::{self, VERSION};
use lzma_rust2::{LzipOptions, LzipWriter};

/// The flags of `cargo xtask release`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Replaces the archive of this version, if it is not tagged yet
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut releases = releases()?;
    let now = embedded::current()?;
    if embedded::versions(&releases).contains(&VERSION.to_owned()) && !args.replace {
        ensure!(
            releases.folder(VERSION) == now,
            "{VERSION} is released already, and the template or the crate has changed since: raise the version in \
             Cargo.toml, or use --replace if {VERSION} is not tagged yet",
        );
        return Ok(ExitCode::SUCCESS);
    }
    releases.set_folder(VERSION, &now);
    let out = LzipWriter::new(Vec::new(), LzipOptions::with_preset(6));
    let file = file();
    fs::write(&file, releases.write(out)?.finish()?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("writing {}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// The archive of all releases.
fn file() -> PathBuf {
    crate::root().join("cargo-chassis/releases.tar.lz")
}

/// The content of this archive: a folder for each version.
pub(crate) fn releases() -> anyhow::Result<Archive> {
    let file = file();
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    embedded::read_releases(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise `cargo chassis update` would start from the released template, although the service was generated from
    /// another one.
    #[test]
    fn a_template_that_differs_from_its_release_has_another_version() {
        let releases = releases().expect("an archive");
        if !embedded::versions(&releases).contains(&VERSION.to_owned()) {
            return; // not released yet: it may change
        }
        let now = embedded::current().expect("an archive");
        let template = format!("{VERSION}/template");
        assert!(
            releases.folder(&template) == now.folder("template"),
            "the template has changed since {VERSION} was released: raise the version in Cargo.toml, \
             `cargo xtask sync`"
        );
    }

    #[test]
    fn a_release_takes_less_than_100_kb_of_the_tool() {
        let size = file().metadata().expect("a file").len();
        let count = embedded::versions(&releases().expect("an archive")).len();
        assert!(
            size < 100_000 * count as u64,
            "{size} bytes, {count} releases"
        );
    }
}
