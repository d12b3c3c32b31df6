//! Runs external programs that have to succeed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The `cargo` that started this program, or else the one in PATH; it runs in `folder`.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

/// Runs the command to its end, and returns its standard output.
///
/// # Errors
///
/// If the command fails; the error contains its output.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} fails:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Builds `cargo chassis` from this checkout, and returns its path.
pub(crate) fn build_tool() -> anyhow::Result<PathBuf> {
    let root = crate::root();
    succeed(cargo(&root).args(["build-tool", "--locked"]))?;
    Ok(root.join("target/debug/cargo-chassis"))
}
