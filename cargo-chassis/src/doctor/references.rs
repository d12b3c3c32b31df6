//! Finds the third-party parts that the files of a project name: images, actions, releases of Rust, Kubernetes APIs.

use std::fs;
use std::path::{Path, PathBuf};

use super::text;
use crate::archive::Archive;

/// A part and its version, as one file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Only the number, if there is one, such as `1.95` of `rust:1.95-slim-trixie`.
    pub(super) version: String,
    /// The text in the file.
    pub(super) text: String,
    pub(super) file: PathBuf,
}

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A base image, from a `FROM` line of a Dockerfile.
    Base,
    /// An image of a compose file, a workflow or a Kubernetes manifest.
    Image,
    Action,
    Rust,
    Api,
}

/// Finds the references in the files of a folder. Their paths are relative to this folder.
pub(super) fn of_folder(folder: &Path) -> Vec<Reference> {
    let mut files = Vec::new();
    list(folder, Path::new(""), &mut files);
    files.sort();
    let read = |file: &PathBuf| Some(in_file(file, &text(&folder.join(file))?));
    files.iter().filter_map(read).flatten().collect()
}

/// Finds the references in a template, whose files have not been rendered.
pub(super) fn of_template(release: &Archive) -> Vec<Reference> {
    let template = release.folder("template");
    let files = template.paths().filter(|path| is_read(path));
    let read = |file: &Path| {
        let bytes = template.get(file.to_str()?)?;
        Some(in_file(file, &String::from_utf8_lossy(bytes)))
    };
    files.filter_map(read).flatten().collect()
}

/// Folders whose YAML files are read.
const FOLDERS: [&str; 4] = [".github/actions", ".github/workflows", "compose", "k8s"];

fn is_read(file: &Path) -> bool {
    let name = file.to_string_lossy();
    let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    let is_top = file.components().count() == 1;
    is_yaml && FOLDERS.iter().any(|folder| file.starts_with(folder))
        || is_top && is_yaml && name.contains("compose")
        || is_top && (name.starts_with("Dockerfile") || name.starts_with("rust-toolchain"))
}

fn list(root: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(root.join(below)).into_iter().flatten();
    for entry in entries.flatten() {
        let path = below.join(entry.file_name());
        // A symbolic link is not followed, because it could lead to a loop.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_listed =
            |folder: &&str| Path::new(folder).starts_with(&path) || path.starts_with(folder);
        if is_folder && FOLDERS.iter().any(is_listed) {
            list(root, &path, files);
        } else if !is_folder && is_read(&path) {
            files.push(path);
        }
    }
}

fn in_file(file: &Path, text: &str) -> Vec<Reference> {
    let name = file.to_string_lossy();
    let reference = |kind, name: &str, version: &str, text: &str| Reference {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        text: text.to_owned(),
        file: file.to_owned(),
    };
    let image = |kind, image: &str| {
        let (name, tag) = name_and_tag(image)?;
        let version = Some(number(tag)).filter(|number| !number.is_empty());
        Some(reference(kind, name, version.unwrap_or(tag), image))
    };
    let rust = |line: &str, value: &str| {
        let release = number(unquoted(value));
        (!release.is_empty()).then(|| reference(Kind::Rust, "Rust", release, line))
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.strip_prefix("- ").unwrap_or(line);
        let value = |key: &str| Some(line.strip_prefix(key)?.trim());
        if name.starts_with("Dockerfile") {
            let mut words = value("FROM ").unwrap_or_default().split_whitespace();
            let base = words.find(|word| !word.starts_with("--"));
            found.extend(base.and_then(|base| image(Kind::Base, base)));
        } else if name.starts_with("rust-toolchain") {
            // The file `rust-toolchain` without a suffix may contain only the release.
            let release = value("channel").map(|rest| rest.trim_start_matches(['=', ' ']));
            found.extend(rust(line, release.unwrap_or(line)));
        } else if let Some(action) = value("uses:") {
            found.extend(
                name_and_release(action)
                    .map(|(name, release)| reference(Kind::Action, name, release, action)),
            );
        } else if let Some(name) = value("image:") {
            found.extend(image(Kind::Image, unquoted(name)));
        } else if let Some(release) = value("RUSTUP_TOOLCHAIN:") {
            found.extend(rust(line, release));
        } else if let Some((group, version)) =
            value("apiVersion:").and_then(|api| api.split_once('/'))
            && let Some(kind) = lines
                .get(at + 1)
                .and_then(|next| next.strip_prefix("kind: "))
        {
            found.push(reference(
                Kind::Api,
                &format!("{kind}.{group}"),
                version,
                line,
            ));
        }
    }
    found
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

/// The name and the tag of an image such as `localhost:5000/rust:1.95`.
fn name_and_tag(image: &str) -> Option<(&str, &str)> {
    let tagged = image.split('@').next().unwrap_or(image);
    let (name, tag) = tagged.rsplit_once(':')?;
    (!tag.contains('/')).then_some((name, tag))
}

/// The name and the release of an action. The release is in the comment after a commit's hash, otherwise in the tag.
fn name_and_release(action: &str) -> Option<(&str, &str)> {
    let (name, version) = action.split_once('@')?;
    let (tag, comment) = version.split_once('#').unwrap_or((version, ""));
    let mut releases = [comment, tag].into_iter().map(str::trim);
    let release = releases.find(|text| text.starts_with('v'))?;
    let is_own = name.starts_with("./") || name.contains(':');
    (!is_own).then_some((name, release))
}

/// The number that a text begins with, such as `v3.13.3` or `1.95`.
fn number(text: &str) -> &str {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.');
    let digits = digits[..end.unwrap_or(digits.len())].trim_end_matches('.');
    if digits.is_empty() {
        return "";
    }
    &text[..digits.len() + usize::from(text.starts_with('v'))]
}

// === impl Reference ===

impl Reference {
    /// The numbers of the version, for comparisons. For a Kubernetes API, `v1beta1` is lower than `v1`.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let version = match self.kind {
            Kind::Api if self.version.contains("alpha") => self.version.replace("alpha", ".0."),
            Kind::Api if self.version.contains("beta") => self.version.replace("beta", ".1."),
            Kind::Api => format!("{}.2", self.version),
            _ => number(&self.version).to_owned(),
        };
        let parts = version.split(|c: char| !c.is_ascii_digit());
        parts.filter_map(|part| part.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Kind, in_file};

    /// Kind, name and version of each reference.
    fn found(file: &str, text: &str) -> Vec<(Kind, String, String)> {
        let found = in_file(Path::new(file), text).into_iter();
        found.map(|one| (one.kind, one.name, one.version)).collect()
    }

    fn one(kind: Kind, name: &str, version: &str) -> Vec<(Kind, String, String)> {
        vec![(kind, name.to_owned(), version.to_owned())]
    }

    #[test]
    fn a_part_is_read_with_its_version_as_files_write_it() {
        let from = "FROM --platform=$BUILDPLATFORM localhost:5000/rust:1.95-slim-trixie@sha256:12 AS rust\nFROM rust AS a\n";
        let workflow = ".github/workflows/ci.yml";
        for (file, text, expected) in [
            (
                "Dockerfile.arm",
                from,
                one(Kind::Base, "localhost:5000/rust", "1.95"),
            ),
            (
                "Dockerfile",
                "FROM debian:trixie-slim\nFROM ${VARIANT}\n",
                one(Kind::Base, "debian", "trixie-slim"),
            ),
            (
                workflow,
                "- uses: a/b@0123abc # v7.0.1",
                one(Kind::Action, "a/b", "v7.0.1"),
            ),
            (
                workflow,
                "  uses: a/b/c@v4",
                one(Kind::Action, "a/b/c", "v4"),
            ),
            (
                workflow,
                "uses: ./.github/actions/own@v1\nuses: a/b@main",
                vec![],
            ),
            (
                workflow,
                "RUSTUP_TOOLCHAIN: \"1.95\"",
                one(Kind::Rust, "Rust", "1.95"),
            ),
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = \"1.94.1\"",
                one(Kind::Rust, "Rust", "1.94.1"),
            ),
            ("rust-toolchain.toml", "channel = \"stable\"", vec![]),
            ("rust-toolchain", "1.94\n", one(Kind::Rust, "Rust", "1.94")),
            (
                "docker-compose.yml",
                "image: 'postgres:18'",
                one(Kind::Image, "postgres", "18"),
            ),
            (
                "k8s/a.yaml",
                "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget",
                one(Kind::Api, "PodDisruptionBudget.policy", "v1beta1"),
            ),
            ("k8s/a.yaml", "apiVersion: v1\nkind: Service", vec![]),
        ] {
            assert_eq!(found(file, text), expected, "{file}: {text}");
        }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let numbers = |file: &str, text: &str| {
            let found = in_file(Path::new(file), text);
            found.first().expect("a reference").numbers()
        };
        let api =
            |version: &str| numbers("k8s/a.yaml", &format!("apiVersion: a/{version}\nkind: A"));
        let ascending = ["v1alpha1", "v1alpha2", "v1beta1", "v1", "v2beta2", "v2"].map(api);
        assert!(ascending.is_sorted(), "{ascending:?}");
        let image = |tag: &str| numbers("compose.yaml", &format!("image: a:{tag}"));
        assert!(image("1.100-slim") > image("1.95") && image("v3.9.0") < image("v3.13.3"));
    }
}
