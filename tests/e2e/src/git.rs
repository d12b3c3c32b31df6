//! Repositories: of services, and of this checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{root, succeed};

/// Runs git in a folder, and returns its output.
///
/// # Panics
/// If it fails.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let author = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    let mut git = Command::new("git");
    let output = succeed(git.current_dir(folder).args(author).args(arguments));
    String::from_utf8(output.stdout).expect("text")
}

/// Commits all that a folder holds.
///
/// # Panics
/// If there is nothing to commit.
pub fn commit(folder: &Path, message: &str) {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", message]);
}

/// Makes a clone of this checkout, as if all changes in it were committed: `axum-chassis` in `place`, a repository with
/// one commit.
///
/// # Panics
/// If this is not a checkout.
pub fn clone_of_this_checkout(place: &Path) -> PathBuf {
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
