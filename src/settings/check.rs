//! Holds what was written against what may be written, and gives text its type.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde_json::{Number, Value as Json};

use super::fault::Findings;
use super::names::Catalog;
use super::secret::REDACTED;
use super::shape::{Kind, List, Shape, Table};
use super::toml_file;
use super::tree::{Node, Origin, Value};
use super::units::{Duration, Size};

/// Long enough to recognise a value, short enough for one line.
const MAX_SHOWN: usize = 60;

/// Checks one layer after the other: what is wrong goes to `findings`, and what is left is typed.
pub(super) struct Checker<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) findings: Findings,
}

impl<'a> Checker<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            findings: Findings::default(),
        }
    }

    /// A layer that is written as one tree.
    pub(super) fn tree(&mut self, node: &Node) -> Option<Node> {
        self.check(&mut Vec::new(), node, &self.catalog.shape)
    }

    /// A value of a layer that is written value by value.
    pub(super) fn entry(
        &mut self,
        segments: &[String],
        text: &OsStr,
        origin: Origin,
    ) -> Option<Node> {
        let catalog = self.catalog;
        let (mut path, shape) = match catalog.resolve(segments) {
            Ok(found) => found,
            Err(path) => {
                let whole = r#"a list, set as a whole: "a,b" or '["a", "b"]'"#;
                match catalog.list_in(&path) {
                    Some(list) => self.findings.note(list, &origin, whole),
                    None => self.unknown(&path, &origin),
                }
                return None;
            }
        };
        let Some(text) = text.to_str() else {
            self.findings
                .spoil(&path, &origin, "expected UTF-8, found something else");
            return None;
        };
        let node = Node::new(origin, Value::Text(text.to_owned()));
        Some(self.check(&mut path, &node, shape)?.at(&path))
    }

    fn check(&mut self, path: &mut Vec<String>, node: &Node, shape: &Shape) -> Option<Node> {
        if shape.optional && is_empty(node) {
            return Some(Node::new(node.origin.clone(), Value::Scalar(Json::Null)));
        }
        let value = match (&shape.kind, &node.value) {
            (Kind::Any, Value::Text(text)) => Some(Value::Scalar(text.as_str().into())),
            (Kind::Any, value) => Some(value.clone()),
            (Kind::Either(either), _) => {
                let fitting = either
                    .iter()
                    .find_map(|shape| self.attempt(path, node, shape));
                fitting.map(|node| node.value)
            }
            (Kind::Table(table), Value::Table(values)) => {
                Some(self.check_table(path, values, table))
            }
            (Kind::List(list), Value::List(items)) => Some(self.check_list(path, items, list)),
            (Kind::Table(_) | Kind::List(_), Value::Text(text)) => {
                match inline(text, shape, &node.origin) {
                    Some(node) => return self.check(path, &node, shape),
                    None => None,
                }
            }
            (kind, Value::Text(text)) => typed(kind, text).map(Value::Scalar),
            (kind, Value::Scalar(scalar)) => fits(kind, scalar).then(|| node.value.clone()),
            _ => None,
        };
        if value.is_none() {
            let found = shown(node, shape.holds_secrets());
            let message = format!("expected {}, found {found}", shape.expected());
            self.findings.spoil(path, &node.origin, message);
        }
        Some(Node::new(node.origin.clone(), value?))
    }

    /// The value as one of several shapes would have it; its faults are nobody's business.
    fn attempt(&self, path: &mut Vec<String>, node: &Node, shape: &Shape) -> Option<Node> {
        let mut trial = Checker::new(self.catalog);
        let checked = trial.check(path, node, shape);
        checked.filter(|_| trial.findings.is_empty())
    }

    fn check_table(
        &mut self,
        path: &mut Vec<String>,
        values: &BTreeMap<String, Node>,
        table: &Table,
    ) -> Value {
        let mut checked = BTreeMap::new();
        for (key, node) in values {
            path.push(key.clone());
            match table.get(key) {
                Some(shape) => checked.extend(
                    self.check(path, node, shape)
                        .map(|node| (key.clone(), node)),
                ),
                None => self.unknown(path, &node.origin),
            }
            path.pop();
        }
        Value::Table(checked)
    }

    fn check_list(&mut self, path: &mut Vec<String>, items: &[Node], list: &List) -> Value {
        let mut checked = Vec::new();
        for (at, node) in items.iter().enumerate() {
            path.push(at.to_string());
            checked.extend(self.check(path, node, list.get(at)));
            path.pop();
        }
        Value::List(checked)
    }

    /// The value of an unknown key is never shown: it may be a secret under a misspelt name.
    fn unknown(&mut self, path: &[String], origin: &Origin) {
        self.findings
            .suggest(path, origin, "no such setting", self.catalog.nearest(path));
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) | Value::Scalar(Json::String(text)) if text.is_empty())
}

/// What was written, on one line and not too long; nothing at all of a secret.
pub(super) fn shown(node: &Node, secret: bool) -> String {
    let text = match &node.value {
        Value::Table(_) => return "a table".into(),
        Value::List(_) => return "a list".into(),
        _ if secret || node.origin.is_secret() => return REDACTED.into(),
        Value::Text(text) | Value::Scalar(Json::String(text)) => text,
        Value::Scalar(scalar) => return scalar.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A list or table in one line of text: `a,b`, `["a", "b"]` or `{ a = 1 }`.
fn inline(text: &str, shape: &Shape, origin: &Origin) -> Option<Node> {
    let text = text.trim();
    let list = matches!(shape.kind, Kind::List(_));
    if text.starts_with(if list { '[' } else { '{' })
        && let Some(node) = toml_file::parse_value(text, origin)
    {
        return Some(node);
    }
    let items = text.split(',').filter(|_| !text.is_empty());
    let items = items.map(|item| Node::new(origin.clone(), Value::Text(item.trim().to_owned())));
    list.then(|| Node::new(origin.clone(), Value::List(items.collect())))
}

/// Text as the type it should have.
fn typed(kind: &Kind, text: &str) -> Option<Json> {
    let value = match kind {
        Kind::Switch if text.eq_ignore_ascii_case("true") => Json::Bool(true),
        Kind::Switch if text.eq_ignore_ascii_case("false") => Json::Bool(false),
        Kind::Whole { .. } => Json::Number(Number::from_i128(text.parse().ok()?)?),
        Kind::Number { .. } => Json::Number(Number::from_f64(text.parse().ok()?)?),
        Kind::Choice(_) | Kind::Duration | Kind::Size | Kind::Text { .. } => text.into(),
        _ => return None,
    };
    fits(kind, &value).then_some(value)
}

fn fits(kind: &Kind, value: &Json) -> bool {
    match (kind, value) {
        (Kind::Any, _) | (Kind::Switch, Json::Bool(_)) => true,
        (Kind::Whole { min, max }, Json::Number(number)) => number
            .as_i128()
            .is_some_and(|number| (*min..=*max).contains(&number)),
        (Kind::Number { min, max }, Json::Number(number)) => number
            .as_f64()
            .is_some_and(|number| (*min..=*max).contains(&number)),
        (Kind::Choice(words), Json::String(text)) => words.contains(text),
        (Kind::Duration, Json::String(text)) => text.parse::<Duration>().is_ok(),
        (Kind::Size, Json::String(text)) => text.parse::<Size>().is_ok(),
        (Kind::Size, Json::Number(number)) => number.is_u64(),
        (Kind::Text { min, max }, Json::String(text)) => {
            (*min..=*max).contains(&text.chars().count())
        }
        _ => false,
    }
}
