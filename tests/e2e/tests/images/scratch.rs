//! A copy of a fixture that a test may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::docker::fixture;

/// A folder to change, gone at the end of the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn copy_of(shape: &str, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("e2e-{}-{name}", std::process::id()));
        copy(&fixture(shape), &folder);
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).expect("a copy"),
        }
    }
}
