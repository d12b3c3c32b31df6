//! The programs that the tests call: the tool itself, git, and what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// The target folder of this checkout for all services, too, so that what they have in common is compiled once.
pub(crate) static TARGET: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join(".."));

/// `cargo chassis` in a folder, with no way to a network.
pub(crate) fn chassis(folder: &Path) -> Command {
    command(e2e::chassis(folder))
}

/// The same with another build of the tool.
pub(crate) fn command(mut tool: Command) -> Command {
    tool.env("CARGO_TARGET_DIR", &*TARGET)
        .envs(["http_proxy", "https_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
        .env("CARGO_NET_OFFLINE", "true");
    tool
}

/// A folder that is a Cargo workspace, and none of a service's business.
pub(crate) fn workspace_with_members() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("Cargo.toml"),
        "[workspace]\nmembers = []\n",
    )
    .expect("a manifest");
    folder
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
