//! Parses security advisories for the crates of the chassis. They have the keys of RustSec's format.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use semver::{Version, VersionReq};
use toml::{Table, Value};

use crate::embedded::CRATES;

/// The advisories that were known when this version of the tool was released.
const EMBEDDED: &str = include_str!("../../advisories.toml");

/// An advisory for one crate.
#[derive(Debug)]
pub(super) struct Advisory {
    pub(super) package: String,
    /// Its ID, title and URL.
    pub(super) summary: String,
    patched: Vec<VersionReq>,
    unaffected: Vec<VersionReq>,
}

/// The embedded advisories, and those of a file.
pub(super) fn known(file: Option<&Path>) -> anyhow::Result<Vec<Advisory>> {
    let mut known = parse(EMBEDDED).context("invalid embedded advisories")?;
    if let Some(file) = file {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        known.extend(parse(&text).with_context(|| format!("invalid advisories in {name}"))?);
    }
    Ok(known)
}

fn parse(text: &str) -> anyhow::Result<Vec<Advisory>> {
    let table: Table = toml::from_str(text)?;
    let list = table.get("advisories").and_then(Value::as_array);
    let list = list.context("expected a list `advisories`")?;
    list.iter().map(Advisory::read).collect()
}

impl Advisory {
    fn read(entry: &Value) -> anyhow::Result<Self> {
        let text = |key: &str| Some(entry.get("advisory")?.get(key)?.as_str()?.to_owned());
        let id = text("id").context("an entry has no `advisory.id`")?;
        let package = text("package").with_context(|| format!("{id} has no `advisory.package`"))?;
        ensure!(
            CRATES.iter().any(|(name, _)| *name == package),
            "{id}: unknown package `{package}`, expected one of {}",
            CRATES.map(|(name, _)| name).join(", ")
        );
        let ranges = |key: &str| {
            let list = entry.get("versions").and_then(|all| all.get(key));
            let list = list.and_then(Value::as_array)?;
            let parsed = list.iter().map(|range| {
                let range = range.as_str().unwrap_or_default();
                VersionReq::parse(range).with_context(|| format!("{id}: invalid range `{range}`"))
            });
            Some(parsed.collect::<anyhow::Result<Vec<_>>>())
        };
        let details = [text("title"), text("url")].into_iter().flatten();
        Ok(Self {
            patched: ranges("patched")
                .with_context(|| format!("{id} has no `versions.patched`"))??,
            unaffected: ranges("unaffected").transpose()?.unwrap_or_default(),
            summary: [id.clone()]
                .into_iter()
                .chain(details)
                .collect::<Vec<_>>()
                .join(", "),
            package,
        })
    }

    pub(super) fn affects(&self, package: &str, version: &Version) -> bool {
        let mut safe = self.patched.iter().chain(&self.unaffected);
        self.package == package && !safe.any(|range| range.matches(version))
    }
}

#[cfg(test)]
mod tests {
    use super::{EMBEDDED, parse};

    #[test]
    fn the_embedded_advisories_and_the_example_in_their_comment_are_valid() {
        parse(EMBEDDED).expect("advisories");
        let lines = EMBEDDED
            .lines()
            .skip_while(|line| *line != "# [[advisories]]");
        let example: Vec<&str> = lines.filter_map(|line| line.strip_prefix("# ")).collect();
        let [advisory] = &parse(&example.join("\n")).expect("an example")[..] else {
            panic!("{example:?}");
        };
        let affects =
            |version: &str| advisory.affects("axum-chassis", &version.parse().expect("a version"));
        assert!(affects("0.4.0") && affects("0.6.0"));
        assert!(!affects("0.3.9") && !affects("0.6.1"));
        assert!(!advisory.affects("axum-chassis-sqlx", &"0.6.0".parse().expect("a version")));
    }
}
