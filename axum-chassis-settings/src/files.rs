//! A snapshot of the configuration files and of the service's own sources. The snapshot that is compared is the one
//! that is loaded.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use crate::added::{Added, SourceOutput};

/// The maximum size of a file. Kubernetes does not allow a larger Secret or ConfigMap.
const MAX_SIZE: u64 = 1 << 20;
/// The maximum depth of folders in the secrets directory. They are levels of a key, and no key has more.
const MAX_LEVELS: usize = 8;

/// Formats that people may expect to be read.
const OTHER_FORMATS: [&str; 3] = ["yaml", "yml", "json"];

/// The content of the two directories, and the output of the added sources.
#[derive(Hash)]
pub(crate) struct Files {
    /// Lowest layer first.
    pub(crate) config: Vec<File>,
    /// Lowest layer first.
    pub(crate) added: Vec<SourceOutput>,
    pub(crate) secrets: Vec<File>,
    /// The file names of other environments, if this environment has no file.
    pub(crate) other_environments: Vec<String>,
}

#[derive(Clone, Hash)]
pub(crate) struct File {
    /// The path, as shown to people.
    pub(crate) path: String,
    /// The path relative to the directory.
    pub(crate) name: String,
    /// `Err` is the reason why it could not be read.
    pub(crate) text: Result<String, String>,
}

/// A fingerprint of the files' state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    hash: u64,
    pub(crate) count: usize,
}

impl Files {
    pub(crate) fn read(
        config: Option<&Path>,
        stems: &[&str],
        secrets: Option<&Path>,
        added: &[Added],
    ) -> Self {
        let mut files = Self {
            config: Vec::new(),
            added: added.iter().map(Added::ask).collect(),
            secrets: Vec::new(),
            other_environments: Vec::new(),
        };
        for stem in stems {
            let Some(directory) = config else { break };
            let toml = File::read(directory, &format!("{stem}.toml"));
            files.config.extend(toml);
            // A source of the service may read other formats, so they are errors only without sources.
            let others = OTHER_FORMATS.iter().filter(|_| added.is_empty());
            let other = |format| File::foreign(directory, &format!("{stem}.{format}"));
            files.config.extend(others.filter_map(other));
        }
        if let (Some(directory), [_, run_env]) = (config, stems)
            && *run_env != "dev"
            && files.config.iter().all(|file| stem(&file.name) != *run_env)
        {
            files.other_environments = environments(directory);
        }
        if let Some(directory) = secrets {
            read_secrets(directory, "", MAX_LEVELS, &mut files.secrets);
            files.secrets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        files
    }

    /// Equal files have equal marks; a mark reveals nothing of their content.
    pub(crate) fn mark(&self) -> Mark {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        Mark {
            hash: hasher.finish(),
            count: self.config.len() + self.secrets.len(),
        }
    }
}

impl File {
    /// `None` if there is no such file.
    fn read(directory: &Path, name: &str) -> Option<Self> {
        let text = match read_text(&directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            text => text.map_err(|error| error.to_string()),
        };
        Some(Self::new(directory, name, text))
    }

    /// A file in a format that is not read: an error, because it would have no effect.
    fn foreign(directory: &Path, name: &str) -> Option<Self> {
        let why = "unsupported format, expected TOML in a file that ends in .toml";
        let exists = directory.join(name).is_file();
        exists.then(|| Self::new(directory, name, Err(why.to_owned())))
    }

    fn new(directory: &Path, name: &str, text: Result<String, String>) -> Self {
        Self {
            path: printable(&directory.join(name)),
            name: name.to_owned(),
            text,
        }
    }
}

impl fmt::Debug for File {
    /// Without its text, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

fn stem(name: &str) -> &str {
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// The names of the files of environments.
fn environments(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_one =
        |name: &String| name.ends_with(".toml") && !name.starts_with('.') && name != "default.toml";
    let mut names: Vec<String> = names.filter(is_one).collect();
    names.sort_unstable();
    names
}

fn read_text(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    // Reading a pipe would block.
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_SIZE {
        let found = format!(
            "too large: {} bytes, expected at most 1 MiB",
            metadata.len()
        );
        return Err(io::Error::other(found));
    }
    String::from_utf8(std::fs::read(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        io::Error::other(format!("invalid UTF-8 at byte {at}"))
    })
}

/// Reads the secret files in a folder. Dot-files are skipped, because Kubernetes keeps versions of the files in folders
/// such as `..data`.
fn read_secrets(root: &Path, folder: &str, levels: usize, files: &mut Vec<File>) {
    // A folder that cannot be read may contain `admin.token`, without which every client has access.
    let unreadable = |error: io::Error| File::new(root, folder, Err(error.to_string()));
    let entries = match std::fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return files.push(unreadable(error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return files.push(unreadable(error)),
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}{name}");
        if name.starts_with('.') {
            continue;
        }
        if !entry.path().is_dir() {
            files.extend(File::read(root, &path));
        } else if levels > 1 {
            read_secrets(root, &format!("{path}/"), levels - 1, files);
        }
    }
}

/// A path with everything escaped that could confuse a terminal or a log.
pub(crate) fn printable(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secrets_folder_is_empty_and_an_unreadable_one_is_an_error() {
        let root = tempfile::tempdir().expect("a folder");
        let mut files = Vec::new();
        read_secrets(&root.path().join("missing"), "", 1, &mut files);
        assert!(files.is_empty(), "{files:?}");

        // A file in place of a folder. Root may read a folder without permissions, but not this.
        std::fs::write(root.path().join("file"), "").expect("a file");
        read_secrets(&root.path().join("file"), "", 1, &mut files);
        let error = files[0].text.as_ref().expect_err("it cannot be read");
        assert!(error.contains("Not a directory"), "{error}");
    }
}
