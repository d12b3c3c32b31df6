//! The effective settings for display: redacted, and each with its origin. The crate `config` offers neither.

use std::collections::BTreeMap;

use config::Value;
use serde_json::{Value as Json, json};

use crate::defaults::Defaults;
use crate::fault::Fault;
use crate::layer::{self, DEFAULT, holds_secrets};
use crate::names::{below, dotted, flag, quoted_if_odd, toml_string};
use crate::redact::{self, REDACTED};
use crate::secret::Secret;
use crate::shape::Shape;

const UNDECLARED_REMEDY: &str =
    r#"make them `Secret`, or `#[schemars(extend("writeOnly" = false))]` if they may be shown"#;

/// The settings in force: every key with its value and where that was set. Secrets are redacted.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: BTreeMap<Vec<String>, Entry>,
    warnings: Vec<Fault>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Json,
    origin: String,
    /// The value of a secret, only to detect changes.
    secret: Option<Secret>,
}

impl Effective {
    /// `settings` is the JSON that the structs serialize to; `merged` has the merged values of all sources.
    pub(crate) fn new(
        settings: &Json,
        merged: &Value,
        shape: &Shape,
        warnings: Vec<Fault>,
    ) -> Self {
        let mut effective = Self {
            warnings,
            ..Self::default()
        };
        effective.collect(&[], settings, merged, shape);
        effective
    }

    fn collect(&mut self, path: &[String], value: &Json, merged: &Value, shape: &Shape) {
        let here = shape.at(path);
        let is_section = here.is_none_or(|here| here.section().is_some());
        if let Json::Object(inner) = value
            && is_section
            && (path.is_empty() || !inner.is_empty())
        {
            for (key, value) in inner {
                self.collect(&below(path, key), value, merged, shape);
            }
            return;
        }
        let written = layer::get(merged, path);
        let secret = here.is_some_and(Shape::holds_secrets) || written.is_some_and(holds_secrets);
        let nothing = value.is_null() || value == "";
        let shown = match secret && !nothing {
            true => REDACTED.into(),
            false => redacted(path, value, shape),
        };
        let hidden = match secret {
            // A `Secret` serializes to its redacted form, so its value comes from `merged`.
            true => written.and_then(|written| layer::to_json(written).ok()),
            false => Some(value.clone()).filter(|value| *value != shown),
        };
        let entry = Entry {
            value: shown,
            origin: layer::origin_of(merged, path).to_owned(),
            secret: hidden.map(|value| value.to_string().into()),
        };
        self.entries.insert(path.to_vec(), entry);
    }

    /// Shows the reason for the defaults of these keys.
    pub(crate) fn explain(&mut self, defaults: Defaults) {
        for (key, reason) in defaults.0 {
            let path = flag(&key);
            if let Some(entry) = self.entries.get_mut(&path) {
                entry.origin = format!("{DEFAULT}: {reason}");
            } else if cfg!(debug_assertions) {
                // For developers, not for operators.
                let warning = "unknown setting: its reason is not shown";
                self.warnings
                    .push(Fault::new(&path, "Validate::complete", warning));
            }
        }
    }

    /// Adds one warning about all keys that are redacted only because they look like secrets.
    pub(crate) fn warn_of_undeclared_secrets(&mut self, shape: &Shape) {
        let is_declared = |path: &[String]| shape.at(path).is_none_or(Shape::holds_secrets);
        let by_value = self.entries.iter().filter(|(path, entry)| {
            entry.secret.is_some() && !entry.origin.starts_with("secret ") && !is_declared(path)
        });
        let mut keys = shape.undeclared_secrets();
        let by_value: Vec<String> = by_value.map(|(path, _)| dotted(path)).collect();
        for key in by_value {
            // An entry can be a whole list of tables (`users`). `keys` then has the key inside it (`users.password`) already.
            if !keys.iter().any(|known| known.starts_with(&key)) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        if !keys.is_empty() {
            let warning =
                format!("redacted because their names look like secrets: {UNDECLARED_REMEDY}");
            self.warnings
                .push(Fault::new(&[], &keys.join(", "), warning));
        }
    }

    /// Warnings, such as a deprecated name of a key.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// The origin of a key, such as `server.port`. If no source sets it, the origin is `default`, in some cases with a reason.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|(path, _)| dotted(path) == key)
            .map(|(_, entry)| entry.origin.as_str())
    }

    /// Every key with its value, redacted, and its origin.
    pub fn entries(&self) -> impl Iterator<Item = (String, &Json, &str)> {
        let entries = self.entries.iter();
        entries.map(|(path, entry)| (dotted(path), &entry.value, entry.origin.as_str()))
    }

    /// The keys whose values differ in `other`, including rotated secrets.
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let same =
            |one: &Entry, other: &Entry| one.value == other.value && one.secret == other.secret;
        let changed = self.entries.iter().filter(|(path, entry)| {
            let theirs = other.entries.get(*path);
            !theirs.is_some_and(|theirs| same(entry, theirs))
        });
        let missing = other
            .entries
            .iter()
            .filter(|(path, _)| !self.entries.contains_key(*path));
        let mut keys: Vec<String> = changed
            .chain(missing)
            .map(|(path, _)| dotted(path))
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Replaces the entries of these keys with those of `other`, and does not change the others.
    pub fn adopt(&mut self, other: &Self, keys: &[String]) {
        let is_meant = |path: &[String]| keys.contains(&dotted(path));
        self.entries.retain(|path, _| !is_meant(path));
        let theirs = other.entries.iter().filter(|(path, _)| is_meant(path));
        self.entries
            .extend(theirs.map(|(path, entry)| (path.clone(), entry.clone())));
    }

    /// Adds the warnings of `other` about keys that have no warning here, and returns the added ones.
    pub fn adopt_warnings(&mut self, other: &Self) -> Vec<Fault> {
        let known = |warning: &&Fault| self.warnings.iter().any(|known| known.key == warning.key);
        let theirs = other.warnings.iter().filter(|warning| !known(warning));
        let new: Vec<Fault> = theirs.cloned().collect();
        self.warnings.extend(new.clone());
        new
    }

    /// TOML that reads back as these settings, except for the secrets. A comment after each key has its origin.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut sections: BTreeMap<&[String], Vec<(&str, &Entry)>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Some((key, section)) = path.split_last() {
                sections.entry(section).or_default().push((key, entry));
            }
        }
        for (section, entries) in sections {
            if !section.is_empty() {
                let gap = if text.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{}]\n", dotted(section));
            }
            for (key, entry) in entries {
                let key = quoted_if_odd(key);
                let origin = &entry.origin;
                text += &match toml_value(&entry.value) {
                    Some(value) => format!("{key} = {value} # {origin}\n"),
                    None => format!("# {key} is not set # {origin}\n"),
                };
            }
        }
        text
    }

    /// `{"settings": {..}, "origins": {"server.port": "environment variable PORT", ..}}`
    pub fn to_json(&self) -> Json {
        let (mut settings, mut origins) = (json!({}), json!({}));
        for (path, entry) in &self.entries {
            origins[dotted(path)] = entry.origin.as_str().into();
            let mut at = &mut settings;
            for key in path {
                if !at.is_object() {
                    *at = json!({});
                }
                at = &mut at[key.as_str()];
            }
            *at = entry.value.clone();
        }
        json!({ "settings": settings, "origins": origins })
    }
}

/// The value with `[redacted]` in place of each value that [`Shape::hides`], and of secrets within a text, such as the
/// userinfo of a URL.
fn redacted(path: &[String], value: &Json, shape: &Shape) -> Json {
    match value {
        Json::Object(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), redacted(&below(path, key), value, shape)))
            .collect(),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| redacted(&below(path, at), item, shape))
            .collect(),
        Json::String(text) if text.is_empty() => value.clone(),
        Json::String(_) | Json::Number(_) if shape.hides(path) => REDACTED.into(),
        Json::String(text) => redact::redact_secrets(text).into(),
        scalar => scalar.clone(),
    }
}

/// `None` for null, which TOML does not have.
fn toml_value(value: &Json) -> Option<String> {
    Some(match value {
        Json::Null => return None,
        Json::String(text) => toml_string(text),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(table) => {
            let entry = |(key, value): (&String, &Json)| {
                Some(format!("{} = {}", quoted_if_odd(key), toml_value(value)?))
            };
            let entries: Vec<String> = table.iter().filter_map(entry).collect();
            match entries.join(", ") {
                none if none.is_empty() => "{}".into(),
                entries => format!("{{ {entries} }}"),
            }
        }
        scalar => scalar.to_string(),
    })
}
