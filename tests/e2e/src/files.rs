//! Folders and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file below `folder`, as paths from there; what `skip` names is left out, folders whole.
pub fn files(folder: &Path, skip: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| skip.contains(&name)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).expect("below it").to_owned());
            }
        }
    }
    files.sort();
    files
}

/// Files by their path below a folder: the bytes, and whether it may be run.
pub type Contents = BTreeMap<PathBuf, (Vec<u8>, bool)>;

/// The contents of each file below `folder`, and whether it is executable. `.git` is left out.
///
/// # Panics
/// If one cannot be read.
pub fn contents(folder: &Path) -> Contents {
    let files = files(folder, &[".git"]).into_iter();
    files
        .map(|path| {
            let file = folder.join(&path);
            let mode = file.metadata().expect("a file").permissions().mode();
            let bytes = fs::read(file).expect("a file");
            (path, (bytes, mode & 0o100 != 0))
        })
        .collect()
}

/// Copies a folder, without what was built there: files are as new as in a new clone.
///
/// # Panics
/// If it cannot.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from, &["target"]) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(file), target).expect("a copy");
    }
}

/// Replaces what stands in a file.
///
/// # Panics
/// If it does not stand there.
pub fn edit(file: &Path, from: &str, to: &str) {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}
