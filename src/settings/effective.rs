//! The settings in force, fit to be shown: redacted, each with its origin.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value as Json, json};

use super::secret::REDACTED;
use super::shape::{Kind, Shape};
use super::tree::{Node, dotted, quoted_if_odd, toml_string};

/// The settings in force: every key with its value and where that was set. Secrets are redacted.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: BTreeMap<Vec<String>, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Json,
    origin: String,
    /// What a secret really is, only to tell whether it changed.
    secret: Option<SecretString>,
}

impl Effective {
    /// `settings` are the structs as they print themselves, `tree` is what was written.
    pub(super) fn new(settings: &Json, tree: &Node, shape: &Shape) -> Self {
        let mut effective = Self::default();
        effective.collect(&mut Vec::new(), settings, tree, shape);
        effective
    }

    fn collect(&mut self, path: &mut Vec<String>, value: &Json, tree: &Node, shape: &Shape) {
        let here = shape.at(path);
        let inner = match (value, here.map(|shape| &shape.kind)) {
            (Json::Object(inner), Some(Kind::Table(_)) | None)
                if path.is_empty() || !inner.is_empty() =>
            {
                inner
            }
            _ => return self.insert(path, value, tree, here),
        };
        for (key, value) in inner {
            path.push(key.clone());
            self.collect(path, value, tree, shape);
            path.pop();
        }
    }

    fn insert(&mut self, path: &[String], value: &Json, tree: &Node, shape: Option<&Shape>) {
        let origin = tree.origin_of(path);
        let written = tree.get(path);
        let hidden =
            shape.is_some_and(Shape::holds_secrets) || written.is_some_and(Node::holds_secrets);
        let nothing = value.is_null() || value == "";
        let entry = Entry {
            value: if hidden && !nothing {
                REDACTED.into()
            } else {
                value.clone()
            },
            origin: origin.to_string(),
            secret: written
                .filter(|_| hidden)
                .map(|node| node.to_json().to_string().into()),
        };
        self.entries.insert(path.to_vec(), entry);
    }

    /// Where a key, such as `server.port`, was set; `default` if nowhere.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|(path, _)| dotted(path) == key)
            .map(|(_, entry)| entry.origin.as_str())
    }

    /// The keys whose values differ in `other`, rotated secrets among them.
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let mine = self
            .entries
            .iter()
            .filter(|(path, entry)| match other.entries.get(*path) {
                Some(theirs) => !entry.same_value(theirs),
                None => true,
            });
        let theirs = other
            .entries
            .keys()
            .filter(|path| !self.entries.contains_key(*path));
        let mut changed: Vec<&Vec<String>> = mine.map(|(path, _)| path).chain(theirs).collect();
        changed.sort();
        changed.into_iter().map(|path| dotted(path)).collect()
    }

    /// Takes these keys over as they are in `other`, and leaves the rest.
    pub(crate) fn adopt(&mut self, other: &Self, keys: &[String]) {
        let is_meant = |path: &[String]| keys.contains(&dotted(path));
        self.entries.retain(|path, _| !is_meant(path));
        let theirs = other.entries.iter().filter(|(path, _)| is_meant(path));
        self.entries
            .extend(theirs.map(|(path, entry)| (path.clone(), entry.clone())));
    }

    /// TOML that reads back as these settings, but for the secrets, with each key's origin beside it.
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

    /// `{"settings": {..}, "origins": {"server.port": "variable PORT", ..}}`
    pub fn to_json(&self) -> Json {
        let mut settings = Map::new();
        let mut origins = Map::new();
        for (path, entry) in &self.entries {
            origins.insert(dotted(path), entry.origin.as_str().into());
            put(&mut settings, path, entry.value.clone());
        }
        json!({ "settings": settings, "origins": origins })
    }
}

impl Entry {
    fn same_value(&self, other: &Self) -> bool {
        let secret = |entry: &Self| {
            entry
                .secret
                .as_ref()
                .map(|secret| secret.expose_secret().to_owned())
        };
        self.value == other.value && secret(self) == secret(other)
    }
}

fn put(table: &mut Map<String, Json>, path: &[String], value: Json) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = table
                .entry(key.clone())
                .or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// TOML has no null: `None`.
fn toml_value(value: &Json) -> Option<String> {
    Some(match value {
        Json::Null => return None,
        Json::String(text) => toml_string(text),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(table) => {
            let entries = table
                .iter()
                .filter_map(|(key, value)| Some((quoted_if_odd(key), toml_value(value)?)));
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            if entries.is_empty() {
                "{}".into()
            } else {
                format!("{{ {} }}", entries.join(", "))
            }
        }
        scalar => scalar.to_string(),
    })
}
