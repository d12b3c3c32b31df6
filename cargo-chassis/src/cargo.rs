//! The cargo command: the one that called this program, or the one in PATH.

use std::path::Path;
use std::process::Command;

/// `cargo` in a folder.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}
