//! The template's version and the crates of the chassis.

use std::path::{Path, PathBuf};

use anyhow::Context;
use semver::Version;

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
    for (name, found, file) in crates(folder) {
        let found = version(&found)?;
        let is_vendored = file.ends_with("Cargo.toml");
        let remedy = if is_update {
            UPDATE.to_owned()
        } else if found >= tool {
            format!("{INSTALL} && {UPDATE}")
        } else if is_vendored {
            "rm -r vendor && cargo chassis vendor".to_owned()
        } else {
            format!("cargo update {name}")
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
            files: vec![file],
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

/// The crates of the chassis in the service, with their versions and the files that have these.
fn crates(folder: &Path) -> Vec<(&'static str, String, PathBuf)> {
    let table = |file: &Path| text(file)?.parse::<toml::Table>().ok();
    // In a workspace, the lock file is further up.
    let mut around = folder.ancestors().map(|folder| folder.join("Cargo.lock"));
    let lock = around.find(|file| file.is_file());
    let locked = lock.as_deref().and_then(table).unwrap_or_default();
    let manifest = table(&folder.join("Cargo.toml")).unwrap_or_default();
    let mut found = Vec::new();
    for (name, _) in CRATES {
        let file = PathBuf::from(format!("vendor/{name}/Cargo.toml"));
        if let Some(vendored) = table(&folder.join(&file)) {
            let version = vendored
                .get("package")
                .and_then(|package| package.get("version"));
            let version = version.and_then(toml::Value::as_str);
            found.extend(version.map(|version| (name, version.to_owned(), file)));
            continue;
        }
        // Before the first build, the lock file also has packages that the service does not use.
        let dependencies = manifest.get("dependencies");
        if dependencies.is_none_or(|all| all.get(name).is_none()) {
            continue;
        }
        let packages = locked.get("package").and_then(toml::Value::as_array);
        for package in packages.into_iter().flatten() {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            if text("name") == Some(name)
                && let (Some(version), Some(lock)) = (text("version"), &lock)
            {
                let file = lock.strip_prefix(folder).unwrap_or(lock);
                found.push((name, version.to_owned(), file.to_owned()));
            }
        }
    }
    found
}

fn version(text: &str) -> anyhow::Result<Version> {
    Version::parse(text)
        .with_context(|| format!("invalid version `{text}`: expected one such as 0.6.0"))
}
