//! Shared parts of the end-to-end tests: folders, commands that have to succeed, and load.

mod files;
mod git;
mod load;
mod published;
mod tool;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use files::{Contents, contents, copy, edit, files};
pub use git::{clone_of_this_checkout, commit, git};
pub use load::{Counts, Kind, Load};
pub use published::published;
pub use stores::wait_for;
pub use tool::{built, chassis, run_lines, said};

/// This checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/e2e lies two folders below the root")
        .to_owned()
}

/// The cargo that runs the tests.
pub fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

/// Runs `command` to its end.
///
/// # Panics
/// With all that it printed, if it fails.
pub fn succeed(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
