//! Projects that a test may change.

use std::{fs, path::Path};

use e2e::files;
use tempfile::TempDir;

use crate::docker::fixture;

/// A copy of a fixture.
pub(crate) fn copy_of(shape: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&fixture(shape), folder.path());
    folder
}

/// Copies a folder, without what was built or checked out there.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from, &["target", ".git"]) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(file), target).expect("a copy");
    }
}
