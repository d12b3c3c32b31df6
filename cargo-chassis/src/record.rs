//! What made a project: `.chassis.toml`, which the template writes, with its version and the answers.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use toml_edit::{DocumentMut, Item, value};

use crate::template::Answers;
use crate::vendor;

/// Its name, in the folder of the service.
pub(crate) const FILE: &str = ".chassis.toml";

/// The first release, which wrote no record.
const UNRECORDED: &str = "0.1.0";

/// A project's beginnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The version of the template.
    pub(crate) template: String,
    /// The service's name as it was given.
    pub(crate) name: String,
    pub(crate) answers: Answers,
}

impl Record {
    /// Reads the record of the service in `folder`; for one of the first release, works it out from Cargo.toml.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Self::of_first_release(folder);
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let record: toml::Table =
            toml::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
        let template = record.get("template").and_then(toml::Value::as_str);
        let answers = record.get("answers").and_then(toml::Value::as_table);
        let (Some(template), Some(answers)) = (template, answers) else {
            bail!(
                "{} has to name the template's version and the [answers]",
                file.display()
            );
        };
        let mut answers: Answers = answers
            .iter()
            .filter_map(|(name, answer)| Some((name.clone(), answer.as_str()?.to_owned())))
            .collect();
        let name = answers.remove("project-name");
        Ok(Self {
            template: template.to_owned(),
            name: name.with_context(|| format!("{} does not say project-name", file.display()))?,
            answers,
        })
    }

    fn of_first_release(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("Cargo.toml");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let manifest: DocumentMut = text
            .parse()
            .with_context(|| format!("cannot read {}", file.display()))?;
        let package = |key: &str| {
            manifest
                .get("package")?
                .get(key)?
                .as_str()
                .map(str::to_owned)
        };
        let made_here = folder.join("k8s").is_dir() && folder.join("src/main.rs").is_file();
        let (Some(name), Some(dependency), true) = (package("name"), dependency(&text), made_here)
        else {
            bail!(
                "{} was not made by the template of axum-chassis: it has no {FILE}, and is no service of release {UNRECORDED}",
                folder.display()
            );
        };
        let mut answers = Answers::from([(
            "workspace".to_owned(),
            if manifest.contains_key("workspace") {
                "own"
            } else {
                "member"
            }
            .to_owned(),
        )]);
        answers.extend(package("description").map(|text| ("description".to_owned(), text)));
        let source = |key: &str| {
            dependency
                .get(key)
                .and_then(Item::as_str)
                .map(str::to_owned)
        };
        let (kind, detail) = if let Some(path) = source("path") {
            let vendored = path == vendor::FOLDER;
            let kind = if vendored { "vendored" } else { "path" };
            (kind, ("chassis-path", path))
        } else if let Some(url) = source("git") {
            ("git", ("chassis-url", url))
        } else {
            let version = dependency
                .as_str()
                .map(str::to_owned)
                .or_else(|| source("version"));
            ("registry", ("chassis-version", version.unwrap_or_default()))
        };
        answers.insert("chassis".to_owned(), kind.to_owned());
        answers.insert(detail.0.to_owned(), detail.1);
        Ok(Self {
            template: UNRECORDED.to_owned(),
            name,
            answers,
        })
    }
}

/// What a manifest says of the chassis, if it depends on it.
pub(crate) fn dependency(manifest: &str) -> Option<Item> {
    let manifest: DocumentMut = manifest.parse().ok()?;
    Some(manifest.get("dependencies")?.get("axum-chassis")?.clone())
}

/// Notes that the chassis now comes from `source`, which needs no more to be said; nothing without a record.
pub(crate) fn set_source(folder: &Path, source: &str) -> anyhow::Result<()> {
    let file = folder.join(FILE);
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let mut record: DocumentMut = text
        .parse()
        .with_context(|| format!("cannot read {}", file.display()))?;
    if let Some(answers) = record.get_mut("answers").and_then(Item::as_table_mut) {
        for detail in ["chassis-path", "chassis-url", "chassis-version"] {
            answers.remove(detail);
        }
        answers.insert("chassis", value(source));
    }
    fs::write(file, record.to_string())?;
    Ok(())
}
