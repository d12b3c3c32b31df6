//! The cargo that this program was called by, or the one on PATH.

use std::path::Path;
use std::process::Command;

/// `cargo` in a folder.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}
