//! The folder of a new service: checks whether it can be used, and writes the files to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use glob::{MatchOptions, Pattern};

use crate::archive::Archive;
use crate::rust;
use crate::template::{Answers, Template};

/// Files that GitHub or GitLab create in a new repository: their names in capitals, without the extension.
const OF_A_NEW_REPOSITORY: [&str; 5] = ["README", "LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// The folder for a new service.
pub(super) struct Target {
    pub(super) name: String,
    parent: PathBuf,
    /// Whether the folder is a clone of a new repository without code.
    is_clone: bool,
}

impl Target {
    /// Accepts a path that does not exist yet, an empty folder, or a fresh clone.
    pub(super) fn parse(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        // This resolves a `..` at the end of the path.
        let path = path.canonicalize().unwrap_or(path);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            bail!(
                "invalid path `{}`: its last part has to be the service's name",
                path.display()
            );
        };
        let name = name
            .to_str()
            .with_context(|| {
                format!(
                    "invalid path `{}`: the service's name has to be UTF-8",
                    path.display()
                )
            })?
            .to_owned();
        let is_clone = match path.read_dir() {
            Ok(mut entries) => entries.next().is_some() && is_fresh_clone(&path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot use {}", path.display()));
            }
        };
        refuse_workspace_around(&path)?;
        Ok(Self {
            name,
            parent: parent.to_owned(),
            is_clone,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// The files of the service.
    pub(super) fn render(
        &self,
        current: &Archive,
        template: &Template,
        answers: Answers,
    ) -> anyhow::Result<Archive> {
        let scratch = tempfile::tempdir()?;
        let made = super::make(current, template, scratch.path(), &self.name, answers)?;
        self.can_be_compiled(&made)?;
        // The lock file has the versions of the crates with which the template was tested.
        if let Some(lock) = current.get("Cargo.lock") {
            std::fs::write(made.join("Cargo.lock"), lock)?;
        }
        let mut files = Archive::default();
        files.add(&made, "")?;
        Ok(files)
    }

    /// Fails, before anything is written, if the compiler is older than the service's `rust-version`.
    fn can_be_compiled(&self, made: &Path) -> anyhow::Result<()> {
        let manifest = std::fs::read_to_string(made.join("Cargo.toml"))?;
        // The compiler is run in the nearest existing folder above the service, because a `rust-toolchain.toml` in a
        // folder above selects it.
        let mut around = self.parent.ancestors();
        let around = around.find(|folder| folder.is_dir()).unwrap_or(made);
        match rust::version_in(&manifest)
            .and_then(|needed| rust::too_old(&self.name, needed, around))
        {
            Some(old) => bail!(old),
            None => Ok(()),
        }
    }

    /// The files of the clone that `write` replaces. They are committed, so git can restore them.
    pub(super) fn replaced(&self, files: &Archive) -> Vec<PathBuf> {
        let folder = self.path();
        let paths = files.paths().filter(|path| folder.join(path).exists());
        paths.map(Path::to_owned).collect()
    }

    /// Writes all files. A new folder is created with all its files, or not at all. In a clone, files and folders are
    /// moved one after the other; if this fails midway, git can undo it.
    pub(super) fn write(&self, files: &Archive) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.parent)
            .with_context(|| format!("cannot create {}", self.parent.display()))?;
        // The files are first written to a folder in the same file system, so that the last step is only a rename.
        let beside = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.name))
            .tempdir_in(&self.parent)
            .with_context(|| format!("cannot write to {}", self.parent.display()))?;
        let made = beside.path().join("made");
        files.unpack("", &made)?;
        let folder = self.path();
        if self.is_clone {
            for entry in made.read_dir()? {
                let entry = entry?;
                let to = folder.join(entry.file_name());
                std::fs::rename(entry.path(), &to)
                    .with_context(|| format!("cannot create {}", to.display()))?;
            }
            return Ok(());
        }
        if folder.exists() {
            std::fs::remove_dir(&folder)?;
        }
        std::fs::rename(made, &folder)
            .with_context(|| format!("cannot create {}", folder.display()))
    }
}

/// `true` for a clone that has only the files of a new repository, all of them committed.
///
/// # Errors
///
/// For any other folder that is not empty.
fn is_fresh_clone(folder: &Path) -> anyhow::Result<bool> {
    let mut has_git = false;
    let mut only_new = true;
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        has_git |= name == ".git";
        let stem = name.split(['.', '-']).next().unwrap_or_default();
        only_new &= name.starts_with(".git")
            || OF_A_NEW_REPOSITORY.contains(&stem.to_ascii_uppercase().as_str());
    }
    ensure!(
        has_git && only_new,
        "{} already exists and is not empty; nothing was changed. Expected a new or empty folder, or a fresh clone that has only \
         a README and a license",
        folder.display()
    );
    let status = Command::new("git")
        .current_dir(folder)
        .args(["status", "--porcelain"])
        .output()
        .context("cannot run git")?;
    ensure!(
        status.status.success() && status.stdout.is_empty(),
        "{} has uncommitted changes; commit them first, so that you can undo what is generated:\n{}{}",
        folder.display(),
        String::from_utf8_lossy(&status.stdout),
        String::from_utf8_lossy(&status.stderr).trim()
    );
    Ok(true)
}

/// Fails if the folder would be a member of a workspace in a folder above. Cargo rejects a workspace inside another
/// workspace, and this would be an error for every package of the outer one.
fn refuse_workspace_around(folder: &Path) -> anyhow::Result<()> {
    for around in folder.ancestors().skip(1) {
        let file = around.join("Cargo.toml");
        let manifest = std::fs::read_to_string(&file).unwrap_or_default();
        // An invalid manifest is ignored here, because Cargo reports it.
        let manifest: toml::Table = toml::from_str(&manifest).unwrap_or_default();
        let (Some(workspace), Ok(inner)) = (manifest.get("workspace"), folder.strip_prefix(around))
        else {
            continue;
        };
        let Some((member, is_pattern)) = membership(workspace, inner) else {
            continue;
        };
        let inner = inner.display();
        let file = file.display();
        let way = if is_pattern {
            format!("add \"{inner}\" to `workspace.exclude` in {file}")
        } else {
            format!("remove \"{member}\" from `workspace.members` in {file}")
        };
        bail!(
            "{} would be in the workspace of {file}, which has the members \"{member}\". A generated service is a workspace of its \
             own, and Cargo rejects one within another. Generate it outside of that workspace, or {way} and repeat the command",
            folder.display()
        );
    }
    Ok(())
}

/// The entry of `members` that includes the folder, and whether this entry is a pattern. `exclude` has an effect only
/// on folders that a pattern includes.
fn membership(workspace: &toml::Value, folder: &Path) -> Option<(String, bool)> {
    let list = |key: &str| {
        let list = workspace.get(key).and_then(toml::Value::as_array);
        list.into_iter().flatten().filter_map(toml::Value::as_str)
    };
    // Removes `./` at the start and `/` at the end of a path.
    let plain = |path: &str| -> PathBuf {
        let parts = Path::new(path).components();
        let parts = parts.filter(|part| *part != std::path::Component::CurDir);
        parts.collect()
    };
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    if let Some(member) = list("members").find(|member| plain(member) == folder) {
        return Some((member.to_owned(), false));
    }
    let mut members = list("members");
    let member = members.find(|member| {
        let pattern = Pattern::new(&plain(member).to_string_lossy());
        pattern.is_ok_and(|pattern| pattern.matches_path_with(folder, options))
    })?;
    let excluded = list("exclude").any(|excluded| folder.starts_with(plain(excluded)));
    (!excluded).then(|| (member.to_owned(), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_in_a_workspace_as_cargo_reads_members_and_exclude() {
        for (workspace, folder, expected) in [
            (r#"members = ["services/*"]"#, "services/orders", true),
            (r#"members = ["./services/*/"]"#, "services/orders", true),
            (r#"members = ["services/*"]"#, "services/eu/orders", false),
            (r#"members = ["services/**"]"#, "services/eu/orders", true),
            (r#"members = ["services/orders"]"#, "services/orders", true),
            (r#"members = ["crates/*"]"#, "services/orders", false),
            (
                "members = [\"services/*\"]\nexclude = [\"services/orders\"]",
                "services/orders",
                false,
            ),
            (
                "members = [\"services/*\"]\nexclude = [\"./services/\"]",
                "services/orders",
                false,
            ),
            (
                "members = [\"services/orders\"]\nexclude = [\"services\"]",
                "services/orders",
                true,
            ),
            ("", "services/orders", false),
        ] {
            let parsed = toml::Value::Table(toml::from_str(workspace).expect("TOML"));
            let found = membership(&parsed, Path::new(folder)).is_some();
            assert_eq!(found, expected, "{workspace}: {folder}");
        }
    }
}
