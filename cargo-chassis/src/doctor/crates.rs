//! Checks the version of the project's template, and the crates of the chassis that the project uses.

use std::path::{Path, PathBuf};

use anyhow::Context;
use semver::Version;
use toml::{Table, Value};

use super::advisories::Advisory;
use super::{Part, Remedy, State, text};
use crate::answers::{self, SavedAnswers};
use crate::embedded::{CRATES, VERSION};

/// Installs the newest tool.
const INSTALL: &str =
    "cargo install --git https://github.com/axum-chassis/axum-chassis cargo-chassis --locked";

/// Merges the tool's template and its crates into the service.
pub(super) const UPDATE: &str = "cargo chassis update";

pub(super) fn parts(
    folder: &Path,
    saved: Option<&SavedAnswers>,
    known: &[Advisory],
) -> anyhow::Result<Vec<Part>> {
    let tool = version(VERSION)?;
    let mut parts = Vec::new();
    let mut is_update = false;
    if let Some(saved) = saved {
        let template = version(&saved.template)?;
        is_update = template < tool;
        parts.push(of_template(&template, &tool));
    }
    for used in crates(folder) {
        let (name, found) = (used.name, version(&used.version)?);
        let remedy = if is_update {
            UPDATE.to_owned()
        } else if found < tool {
            used.renewal
        } else if saved.is_some() {
            format!("{INSTALL} && {UPDATE}")
        } else {
            format!("{INSTALL} && cargo chassis doctor")
        };
        let advisories = known.iter().filter(|one| one.affects(name, &found));
        let advisories: Vec<&str> = advisories.map(|one| &*one.summary).collect();
        let (state, reason) = if !advisories.is_empty() {
            (State::Vulnerable, advisories.join("; "))
        } else if found < tool {
            (State::Behind, format!("this tool has {tool}"))
        } else {
            (State::Current, String::new())
        };
        parts.push(Part {
            name: format!("crate {name}"),
            version: found.to_string(),
            newest: tool.to_string(),
            files: vec![used.file],
            state,
            reason,
            remedy: (state != State::Current).then_some(Remedy::Command(remedy)),
        });
    }
    Ok(parts)
}

fn of_template(template: &Version, tool: &Version) -> Part {
    let (state, reason, remedy) = if template < tool {
        let reason = format!("this tool has the template of {tool}");
        (State::Behind, reason, Some(UPDATE))
    } else if template > tool {
        let reason = format!("this tool is older: it has the template of {tool}");
        (State::Behind, reason, Some(INSTALL))
    } else {
        (State::Current, String::new(), None)
    };
    Part {
        name: "template".to_owned(),
        version: template.to_string(),
        newest: tool.to_string(),
        files: vec![answers::FILE.into()],
        state,
        reason,
        remedy: remedy.map(|command| Remedy::Command(command.to_owned())),
    }
}

/// A crate of the chassis that the project uses.
struct UsedCrate {
    name: &'static str,
    version: String,
    /// The file that has the version.
    file: PathBuf,
    /// The command that updates the crate to the newest version from the same source.
    renewal: String,
}

fn crates(folder: &Path) -> Vec<UsedCrate> {
    let table = |file: &Path| text(file)?.parse::<Table>().ok();
    // In a workspace, the lock file is in a folder above.
    let mut around = folder.ancestors().map(|folder| folder.join("Cargo.lock"));
    let lock = around.find(|file| file.is_file()).unwrap_or_default();
    let locked = table(&lock).unwrap_or_default();
    let lock = lock.strip_prefix(folder).unwrap_or(&lock);
    let manifest = table(&folder.join("Cargo.toml")).unwrap_or_default();
    let mut found = Vec::new();
    for (name, _) in CRATES {
        let file = PathBuf::from(format!("vendor/{name}/Cargo.toml"));
        if let Some(vendored) = table(&folder.join(&file)) {
            found.extend(
                string(vendored.get("package"), "version").map(|version| UsedCrate {
                    name,
                    version: version.to_owned(),
                    file,
                    renewal: "rm -r vendor && cargo chassis vendor".to_owned(),
                }),
            );
            continue;
        }
        // Before the first build, the lock file also has packages that the service does not use. The manifest therefore
        // decides.
        let mut sections = ["dependencies", "dev-dependencies"].into_iter();
        let dependency = sections.find_map(|section| manifest.get(section)?.get(name));
        let packages = locked.get("package").and_then(Value::as_array);
        let mut packages = packages.into_iter().flatten();
        let package = packages.find(|package| string(Some(package), "name") == Some(name));
        let (Some(dependency), Some(version)) = (dependency, string(package, "version")) else {
            continue;
        };
        let renewal = if let Some(path) = string(Some(dependency), "path") {
            format!("git -C {path} pull")
        } else if dependency.get("git").is_some() {
            format!("cargo update {name}")
        } else {
            format!("cargo add {name}@{VERSION}")
        };
        found.push(UsedCrate {
            name,
            version: version.to_owned(),
            file: lock.to_owned(),
            renewal,
        });
    }
    found
}

fn string<'a>(table: Option<&'a Value>, key: &str) -> Option<&'a str> {
    table?.get(key)?.as_str()
}

fn version(text: &str) -> anyhow::Result<Version> {
    Version::parse(text)
        .with_context(|| format!("invalid version `{text}`: expected one such as 0.6.0"))
}
