//! `hooks/rules.toml` of a template: the values and the files that follow from the answers. For cargo-generate, the
//! Rhai hooks next to the file do the same.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use toml::{Table, Value};

use super::{Answers, liquid};
use crate::archive::Archive;

/// The file's path in a template.
pub(super) const FILE: &str = "hooks/rules.toml";

/// The rules of the releases before 0.6.0, which do not have the file.
const UNTIL_0_5: &str = include_str!("rules-until-0.5.toml");

/// The rules of a template.
#[derive(Debug)]
pub(super) struct Rules {
    /// Values of names that the template does not ask for.
    defaults: Vec<(String, String)>,
    /// Further values, as Liquid texts. They are rendered in the order of the file.
    values: Vec<(String, String)>,
    /// Variants of files, each with the condition under which they replace the files of the same name.
    variants: Vec<(String, String)>,
    files: Vec<FileRule>,
}

/// Files that are renamed, then files and folders that are removed.
#[derive(Debug)]
struct FileRule {
    /// The condition, as in Liquid.
    when: String,
    rename: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Rules {
    pub(super) fn read(file: Option<Table>) -> anyhow::Result<Self> {
        let file = match file {
            Some(file) => file,
            None => toml::from_str(UNTIL_0_5)?,
        };
        Self::parse(&file).with_context(|| format!("invalid {FILE}"))
    }

    fn parse(file: &Table) -> anyhow::Result<Self> {
        known(file, &["defaults", "values", "variants", "files"])?;
        let files = file.get("files").and_then(Value::as_array);
        let files = files.into_iter().flatten().map(|rule| {
            let rule = rule.as_table().context("files: expected tables")?;
            known(rule, &["when", "rename", "remove"])?;
            let when = rule.get("when").and_then(Value::as_str);
            let remove = rule.get("remove").and_then(Value::as_array);
            let remove = remove.into_iter().flatten().map(|path| {
                let path = path.as_str().context("remove: expected paths")?;
                Ok(path.to_owned())
            });
            Ok(FileRule {
                when: when.context("files: missing `when`")?.to_owned(),
                rename: texts(rule, "rename")?,
                remove: remove.collect::<anyhow::Result<_>>()?,
            })
        });
        Ok(Self {
            defaults: texts(file, "defaults")?,
            values: texts(file, "values")?,
            variants: texts(file, "variants")?,
            files: files.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Adds the values that follow from the answers.
    pub(super) fn complete(&self, values: &mut Answers) -> anyhow::Result<()> {
        for (name, default) in &self.defaults {
            values
                .entry(name.clone())
                .or_insert_with(|| default.clone());
        }
        for (name, text) in &self.values {
            let value =
                liquid::render(text, values).with_context(|| format!("{FILE}: values.{name}"))?;
            values.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Renames and removes files.
    pub(super) fn choose(&self, files: &mut Archive, values: &Answers) -> anyhow::Result<()> {
        let holds = |key: &str, when: &str| {
            liquid::holds(when, values).map_err(|invalid| anyhow!("{FILE}: {key}: {invalid}"))
        };
        for (variant, when) in &self.variants {
            let holds = holds(&format!("variants.{variant}"), when)?;
            let paths: Vec<PathBuf> = files.paths().map(Path::to_owned).collect();
            for path in paths {
                let Some(replaced) = without_variant(&path, variant) else {
                    continue;
                };
                if holds {
                    files.rename(&path, replaced);
                } else {
                    files.remove(&path);
                }
            }
        }
        for rule in &self.files {
            if !holds("when", &rule.when)? {
                continue;
            }
            for (from, to) in &rule.rename {
                let renamed = files.rename(Path::new(from), PathBuf::from(to));
                ensure!(renamed, "{FILE}: rename: the template has no file {from}");
            }
            for path in &rule.remove {
                files.remove(Path::new(path));
            }
        }
        Ok(())
    }
}

/// `NAME.EXTENSION` for a path that ends with `NAME.VARIANT.EXTENSION`.
fn without_variant(path: &Path, variant: &str) -> Option<PathBuf> {
    let stem = Path::new(path.file_stem()?);
    (stem.extension()? == variant).then_some(())?;
    let mut name = stem.file_stem()?.to_owned();
    name.push(".");
    name.push(path.extension()?);
    Some(path.with_file_name(name))
}

/// The keys and texts of a table, in the order of the file.
fn texts(of: &Table, name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let table = of.get(name).and_then(Value::as_table);
    let texts = table.into_iter().flatten().map(|(key, text)| {
        let text = text
            .as_str()
            .with_context(|| format!("{name}.{key}: expected a text"))?;
        Ok((key.clone(), text.to_owned()))
    });
    texts.collect()
}

/// Rejects misspelt keys.
fn known(table: &Table, keys: &[&str]) -> anyhow::Result<()> {
    for key in table.keys() {
        ensure!(
            keys.contains(&key.as_str()),
            "unknown key `{key}`, expected one of {}",
            keys.join(", ")
        );
    }
    Ok(())
}
