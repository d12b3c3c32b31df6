//! Settings as they were written: a tree whose every value knows where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;

use serde_json::Value as Json;

/// Where a value was written. `Display` is what errors and prints call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    Nowhere,
    File {
        path: String,
        line: Option<usize>,
        column: Option<usize>,
    },
    SecretFile(String),
    Variable(String),
    Flag(String),
    /// A fault of the program rather than of what was written.
    Struct(&'static str),
}

/// One value or table of values. It may hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    /// Text whose type is not known yet: variables, secret files and flags know only text.
    Text(String),
    Scalar(Json),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Origin {
    pub(super) fn file(path: &str) -> Self {
        Self::File {
            path: path.to_owned(),
            line: None,
            column: None,
        }
    }

    /// Whether everything written there is confidential, whatever its key.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::SecretFile(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Nowhere => f.write_str("set nowhere"),
            Self::File { path, line, column } => {
                f.write_str(path)?;
                [line, column]
                    .into_iter()
                    .flatten()
                    .try_for_each(|number| write!(f, ":{number}"))
            }
            Self::SecretFile(path) => write!(f, "secret file {path}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(key) => write!(f, "--set {key}"),
            Self::Struct(name) => write!(f, "struct {name}"),
        }
    }
}

impl Node {
    pub(super) fn new(origin: Origin, value: Value) -> Self {
        Self { origin, value }
    }

    pub(super) fn table(origin: Origin) -> Self {
        Self::new(origin, Value::Table(BTreeMap::new()))
    }

    pub(super) fn from_json(json: &Json, origin: &Origin) -> Self {
        let inner = |json| Self::from_json(json, origin);
        let value = match json {
            Json::Object(table) => Value::Table(
                table
                    .iter()
                    .map(|(key, json)| (key.clone(), inner(json)))
                    .collect(),
            ),
            Json::Array(items) => Value::List(items.iter().map(inner).collect()),
            scalar => Value::Scalar(scalar.clone()),
        };
        Self::new(origin.clone(), value)
    }

    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) => text.as_str().into(),
            Value::Scalar(scalar) => scalar.clone(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(table) => table
                .iter()
                .map(|(key, node)| (key.clone(), node.to_json()))
                .collect(),
        }
    }

    /// Lays `over` upon this: tables merge key by key, anything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(under), Value::Table(over)) => {
                for (key, node) in over {
                    match under.get_mut(&key) {
                        Some(existing) => existing.merge(node),
                        None => {
                            under.insert(key, node);
                        }
                    }
                }
            }
            (under, value) => {
                *under = value;
                self.origin = over.origin;
            }
        }
    }

    /// Wraps this in tables, so that it stands at `path`.
    pub(super) fn at(self, path: &[String]) -> Self {
        path.iter().rev().fold(self, |node, key| {
            let origin = node.origin.clone();
            Self::new(origin, Value::Table(BTreeMap::from([(key.clone(), node)])))
        })
    }

    pub(super) fn get(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.step(key))
    }

    fn step(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.get(key),
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The origin of what stands at `path`, or of the nearest value that holds it.
    pub(super) fn origin_of(&self, path: &[String]) -> &Origin {
        let mut node = self;
        for key in path {
            match node.step(key) {
                Some(inner) => node = inner,
                // A table is written in many places, so it cannot vouch for what it lacks.
                None if matches!(node.value, Value::Table(_)) => return &Origin::Default,
                None => break,
            }
        }
        &node.origin
    }

    /// Whether this, or anything in it, was written in a confidential place.
    pub(super) fn holds_secrets(&self) -> bool {
        self.origin.is_secret()
            || match &self.value {
                Value::Table(table) => table.values().any(Self::holds_secrets),
                Value::List(items) => items.iter().any(Self::holds_secrets),
                _ => false,
            }
    }
}

/// `["server", "port"]` as people write it: `server.port`; odd keys are quoted.
pub(super) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let parts: Vec<String> = path.iter().map(|key| quoted_if_odd(key.as_ref())).collect();
    parts.join(".")
}

pub(super) fn quoted_if_odd(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        toml_string(key)
    }
}

/// A TOML basic string, with everything escaped that could confuse a terminal or a log.
pub(super) fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // Rust's own notion of what is printable.
            _ if c.escape_debug().len() > 1 && c != '\'' => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
