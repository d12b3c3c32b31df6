//! A reproducible archive of a folder: the same files give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files by their path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive(BTreeMap<PathBuf, File>);

/// A file's contents and its executable bit. Git stores nothing else of a file's mode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    contents: Vec<u8>,
    executable: bool,
}

impl Archive {
    /// Adds a file, or all files of a folder, under the name `to`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn add(&mut self, from: &Path, to: &str) -> io::Result<()> {
        self.add_path(from, Path::new(to))
    }

    fn add_path(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if from.is_dir() {
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                self.add_path(&entry.path(), &to.join(entry.file_name()))?;
            }
            return Ok(());
        }
        let file = File {
            contents: fs::read(from)?,
            executable: from.metadata()?.permissions().mode() & 0o100 != 0,
        };
        self.0.insert(to.to_owned(), file);
        Ok(())
    }

    /// Adds a file with these contents.
    pub fn insert(&mut self, path: &str, contents: Vec<u8>) {
        let file = File {
            contents,
            executable: false,
        };
        self.0.insert(path.into(), file);
    }

    /// Removes a file, or all files of a folder.
    pub fn remove(&mut self, path: &Path) {
        self.0.retain(|file, _| !file.starts_with(path));
    }

    /// Renames a file. Returns whether it exists.
    pub fn rename(&mut self, from: &Path, to: PathBuf) -> bool {
        let file = self.0.remove(from);
        let exists = file.is_some();
        self.0.extend(file.map(|file| (to, file)));
        exists
    }

    /// Changes the text of a file, if the file exists.
    pub fn edit(&mut self, path: &str, change: impl FnOnce(&str) -> String) {
        if let Some(file) = self.0.get_mut(Path::new(path)) {
            file.contents = change(&String::from_utf8_lossy(&file.contents)).into_bytes();
        }
    }

    /// Changes the contents of every file.
    ///
    /// # Errors
    ///
    /// The first error of `change`.
    pub fn edit_all<E>(
        &mut self,
        mut change: impl FnMut(&Path, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (path, file) in &mut self.0 {
            change(path, &mut file.contents)?;
        }
        Ok(())
    }

    /// Writes the files below `folder` into the folder `to`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or would be written through a symbolic link below `to`.
    pub fn unpack(&self, folder: &str, to: &Path) -> io::Result<()> {
        for (path, file) in &self.0 {
            let Ok(path) = path.strip_prefix(folder) else {
                continue;
            };
            refuse_links(to, path)?;
            let target = to.join(path);
            fs::create_dir_all(target.parent().unwrap_or(to))?;
            fs::write(&target, &file.contents)?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// A file's contents.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        Some(&self.0.get(Path::new(path))?.contents)
    }

    /// The paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The files below a folder, by their path relative to the folder.
    pub fn folder(&self, name: &str) -> Self {
        let files = self.0.iter().filter_map(|(path, file)| {
            let path = path.strip_prefix(name).ok()?;
            Some((path.to_owned(), file.clone()))
        });
        Self(files.collect())
    }

    /// Replaces the files of a folder with the files of another archive.
    pub fn set_folder(&mut self, name: &str, files: &Self) {
        self.0.retain(|path, _| !path.starts_with(name));
        let files = files.0.iter();
        self.0
            .extend(files.map(|(path, file)| (Path::new(name).join(path), file.clone())));
    }

    /// Writes a `.tar`, and returns `out`.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or a path is too long for the format.
    pub fn write<W: Write>(&self, out: W) -> io::Result<W> {
        let mut tar = tar::Builder::new(out);
        for (path, file) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.contents.len() as u64);
            header.set_mode(if file.executable { 0o755 } else { 0o644 });
            tar.append_data(&mut header, path, &file.contents[..])?;
        }
        tar.into_inner()
    }

    /// Reads a `.tar`.
    ///
    /// # Errors
    ///
    /// If the input is not an archive.
    pub fn read(tar: impl Read) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            let executable = entry.header().mode()? & 0o100 != 0;
            let path = entry.path()?.into_owned();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents)?;
            files.insert(
                path,
                File {
                    contents,
                    executable,
                },
            );
        }
        Ok(Self(files))
    }
}

/// Fails if `path`, or a folder on the way to it from `root`, is a symbolic link: it may lead out of the project.
///
/// # Errors
///
/// The error names the link.
pub fn refuse_links(root: &Path, path: &Path) -> io::Result<()> {
    let mut at = root.to_owned();
    for part in path {
        at.push(part);
        if at.is_symlink() {
            let message = format!(
                "{} is a symbolic link: nothing is written through it",
                at.display()
            );
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}
