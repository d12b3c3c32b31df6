//! `cargo xtask sync`: writes the generated files and the copies of this repository.
//!
//! `k8s/` in the root, with the files that belong to it, is rendered from the template for a service named `service`.
//! The command also translates the Rust sources of the template to Liquid, and writes the version of this workspace into
//! the template and the commits of docs/maintained.md into all workflows.

mod actions;
mod options;
mod settings_page;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};

use cargo_chassis::embedded::VERSION;
use cargo_chassis::template::render_here;

/// Copied from a generated service into the root. The images, the ConfigMap and docker-compose.yml of the root need
/// these files, and readers find them there.
const RENDERED: [&str; 4] = [
    ".dockerignore",
    "compose",
    "config/kustomization.yaml",
    "k8s",
];

/// The beginning of `k8s/README.md` in the root. The other files do not have it, because people copy them.
const ORIGIN: &str = "> Rendered from `template/k8s` for a service named `service` by `cargo xtask sync`: edit the template. The scripts and\n\
    > runbooks that this page names are in `template/scripts` and `template/docs/runbooks`, and in every generated service.\n\n";

/// Files of `template/` that contain the version of this workspace, each with the texts before and after the version.
const VERSIONED: [(&str, &str, &str); 3] = [
    (".chassis.toml", "template = \"", "\""),
    (".github/workflows/ci.yml", "CHASSIS: v", "\n"),
    (
        "cargo-generate.toml",
        "Which version of axum-chassis, as Cargo.toml names it?\"\ndefault = \"",
        "\"",
    ),
];

/// The flags of `cargo xtask sync`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails if a file is out of date
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = crate::root();
    let stale = stale(&root)?;
    if args.check {
        ensure!(
            stale.is_empty(),
            "out of date; run `cargo xtask sync`:\n  {}",
            stale
                .keys()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join("\n  ")
        );
        return Ok(ExitCode::SUCCESS);
    }
    for (path, file) in stale {
        let target = root.join(&path);
        match file {
            Some(file) => {
                eprintln!("writing {}", path.display());
                fs::create_dir_all(target.parent().context("a file has a folder")?)?;
                fs::write(&target, file.contents)?;
                fs::set_permissions(&target, file.permissions)?;
            }
            None => {
                eprintln!("deleting {}", path.display());
                fs::remove_file(&target)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct File {
    contents: Vec<u8>,
    permissions: Permissions,
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let unreadable = || format!("cannot read {}", path.display());
        Ok(Self {
            contents: fs::read(path).with_context(unreadable)?,
            permissions: path.metadata().with_context(unreadable)?.permissions(),
        })
    }

    /// Whether the contents and the executable bit are the same. Scripts have to stay executable; git stores nothing
    /// else of a file's mode.
    fn is_same(&self, other: &Self) -> bool {
        let executable = |file: &Self| file.permissions.mode() & 0o100;
        self.contents == other.contents && executable(self) == executable(other)
    }
}

/// The files to write, by their path in the root. A file without contents has to be deleted.
fn stale(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, Option<File>>> {
    let mut wanted = BTreeMap::new();
    for (name, before, after) in VERSIONED {
        let path = Path::new("template").join(name);
        let mut file = File::read(&root.join(&path))?;
        let text = String::from_utf8(file.contents)?;
        let (start, rest) = text
            .split_once(before)
            .with_context(|| format!("{name} has no {before}"))?;
        let (_, end) = rest
            .split_once(after)
            .with_context(|| format!("{name} has no {after} after it"))?;
        file.contents = [start, before, VERSION, after, end].concat().into_bytes();
        wanted.insert(path, file);
    }

    let mut present = Vec::new();
    for folder in ["template/src", "template/tests"] {
        for path in files(&root.join(folder))? {
            let name = path.display().to_string();
            if name.ends_with(".rs.liquid") {
                present.push(path);
            } else if name.ends_with(".rs") {
                let mut file = File::read(&path)?;
                let source = str::from_utf8(&file.contents)?;
                if let Some(liquid) = options::translate(source).with_context(|| name.clone())? {
                    let path = path.with_extension("rs.liquid");
                    file.contents = liquid.into_bytes();
                    wanted.insert(path.strip_prefix(root)?.to_owned(), file);
                }
            }
        }
    }

    let table = fs::read_to_string(root.join("docs/maintained.md"))?;
    for folder in actions::WORKFLOWS {
        for path in files(&root.join(folder))? {
            let path = path.strip_prefix(root)?.to_owned();
            let mut file = match wanted.remove(&path) {
                Some(file) => file,
                None => File::read(&root.join(&path))?,
            };
            let workflow = String::from_utf8(file.contents)?;
            file.contents = actions::pin(&workflow, &table)?.into_bytes();
            wanted.insert(path, file);
        }
    }

    let mut page = File::read(&root.join("docs/settings.md"))?;
    page.contents = settings_page::fill(root, &String::from_utf8(page.contents)?)?.into_bytes();
    wanted.insert(PathBuf::from("docs/settings.md"), page);

    let scratch = tempfile::tempdir()?;
    let service = render_here(
        &root.join("template"),
        scratch.path(),
        "service",
        // With `added=yes`, the `.dockerignore` is the one for any project: this repository does not have the layout of
        // a service.
        &["chassis=registry".to_owned(), "added=yes".to_owned()],
    )?;
    for folder in RENDERED {
        for path in files(&service.join(folder))? {
            wanted.insert(path.strip_prefix(&service)?.to_owned(), File::read(&path)?);
        }
        present.extend(files(&root.join(folder))?);
    }
    let page = wanted.get_mut(Path::new("k8s/README.md"));
    let page = page.context("the template has no k8s/README.md")?;
    page.contents.splice(..0, ORIGIN.bytes());

    let mut stale = BTreeMap::new();
    for path in present {
        let path = path.strip_prefix(root)?.to_owned();
        if !wanted.contains_key(&path) {
            stale.insert(path, None);
        }
    }
    for (path, file) in wanted {
        if !File::read(&root.join(&path)).is_ok_and(|present| present.is_same(&file)) {
            stale.insert(path, Some(file));
        }
    }
    Ok(stale)
}

/// `path` if it is a file, every file below it if it is a folder, nothing if it is missing.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            files.extend(self::files(&entry?.path())?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_copy_is_in_step_with_its_source() {
        super::run(super::Args { check: true }).expect("nothing to write");
    }

    #[test]
    fn a_service_is_built_with_the_profiles_of_this_workspace() {
        let profiles = |manifest: &str| {
            let manifest = std::fs::read_to_string(crate::root().join(manifest)).expect("text");
            let start = manifest
                .find("# Optimized for speed")
                .expect("the first profile");
            manifest[start..].to_owned()
        };
        // At the end, the workspace may have more profiles, which only its own tests need.
        let (template, workspace) = (
            profiles("template/Cargo.toml.liquid"),
            profiles("Cargo.toml"),
        );
        assert!(
            workspace.starts_with(&template),
            "{workspace}\n---\n{template}"
        );
    }
}
