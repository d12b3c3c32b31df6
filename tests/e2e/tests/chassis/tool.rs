//! The programs that the tests call: the tool itself, git, and what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use e2e::{root, succeed};
use tempfile::TempDir;

/// One target folder for all services, so that dependencies are compiled once.
pub(crate) static TARGET: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated"));

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

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let author = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    let mut git = Command::new("git");
    let output = succeed(git.current_dir(folder).args(author).args(arguments));
    String::from_utf8(output.stdout).expect("text")
}

/// Commits all that a folder holds.
pub(crate) fn commit(folder: &Path, message: &str) {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", message]);
}

/// What somebody who clones this would get once everything here is committed: `axum-chassis` in
/// `place`, a repository of one commit.
pub(crate) fn clone_of_this_checkout(place: &Path) -> PathBuf {
    let clone = place.join("axum-chassis");
    let list = git(
        &root(),
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    );
    for file in list.split_terminator('\0') {
        let (from, to) = (root().join(file), clone.join(file));
        // One that is deleted and not yet committed is listed too.
        if from.exists() {
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        }
    }
    git(&clone, &["init", "--quiet"]);
    commit(&clone, "all of it");
    clone
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

/// Replaces what a file has to have once.
pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a text");
    assert!(text.contains(from), "{} has no {from}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
