//! Holds what was written against what may be written, and gives text its type.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde_json::Value as Json;

use super::fault::Fault;
use super::names::Catalog;
use super::secret::REDACTED;
use super::shape::{Kind, Shape, Table};
use super::toml_file;
use super::tree::{Node, Origin, Value, dotted};
use super::units::{Duration, Size};

/// Long enough to recognise a value, short enough for one line.
const MAX_SHOWN: usize = 60;

/// Finds the faults of one layer after the other.
pub(super) struct Checker<'a> {
    catalog: &'a Catalog,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            faults: Vec::new(),
        }
    }

    /// What is left of a layer without its faults, every text typed.
    pub(super) fn layer(&mut self, node: &Node) -> Option<Node> {
        let catalog = self.catalog;
        self.check(&mut Vec::new(), node, &catalog.shape)
    }

    /// One value of a layer that is written value by value, standing at its key.
    pub(super) fn entry(
        &mut self,
        segments: &[String],
        text: &str,
        origin: Origin,
    ) -> Option<Node> {
        let catalog = self.catalog;
        match catalog.resolve(segments) {
            Ok(path) => {
                let node = Node::new(origin, Value::Text(text.to_owned()));
                let checked = self.check(&mut path.clone(), &node, catalog.shape.at(&path)?)?;
                Some(checked.at(&path))
            }
            Err(path) => {
                self.unknown(&path, &origin);
                None
            }
        }
    }

    /// The same for a value that may not be text.
    pub(super) fn os_entry(
        &mut self,
        segments: &[String],
        text: &OsStr,
        origin: Origin,
    ) -> Option<Node> {
        match text.to_str() {
            Some(text) => self.entry(segments, text, origin),
            None => {
                let fault = Fault::new(
                    dotted(segments).to_lowercase(),
                    &origin,
                    "expected UTF-8, found something else",
                );
                self.faults.push(fault);
                None
            }
        }
    }

    pub(super) fn knows(&self, path: &[String]) -> bool {
        self.catalog.shape.at(path).is_some()
    }

    fn check(&mut self, path: &mut Vec<String>, node: &Node, shape: &Shape) -> Option<Node> {
        if shape.optional && is_empty(node) {
            return Some(Node::new(node.origin.clone(), Value::Scalar(Json::Null)));
        }
        let value = match (&shape.kind, &node.value) {
            (Kind::Any, Value::Text(text)) => Value::Scalar(text.as_str().into()),
            (Kind::Any, value) => value.clone(),
            (Kind::Either(either), _) => return self.check_either(path, node, shape, either),
            (Kind::Table(table), Value::Table(values)) => self.check_table(path, values, table),
            (Kind::List(item), Value::List(items)) => self.check_list(path, items, item),
            (Kind::Table(_) | Kind::List(_), Value::Text(text)) => {
                match inline(text, shape, &node.origin) {
                    Some(node) => return self.check(path, &node, shape),
                    None => return self.misfit(path, node, shape),
                }
            }
            (kind, Value::Text(text)) => match typed(kind, text) {
                Some(scalar) => Value::Scalar(scalar),
                None => return self.misfit(path, node, shape),
            },
            (kind, Value::Scalar(scalar)) if fits(kind, scalar) => Value::Scalar(scalar.clone()),
            _ => return self.misfit(path, node, shape),
        };
        Some(Node::new(node.origin.clone(), value))
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

    fn check_list(&mut self, path: &mut Vec<String>, items: &[Node], item: &Shape) -> Value {
        let mut checked = Vec::new();
        for (at, node) in items.iter().enumerate() {
            path.push(at.to_string());
            checked.extend(self.check(path, node, item));
            path.pop();
        }
        Value::List(checked)
    }

    /// The first of several shapes that the value fits without a fault.
    fn check_either(
        &mut self,
        path: &mut Vec<String>,
        node: &Node,
        shape: &Shape,
        either: &[Shape],
    ) -> Option<Node> {
        for shape in either {
            let mut trial = Checker::new(self.catalog);
            let checked = trial.check(path, node, shape);
            if trial.faults.is_empty() {
                return checked;
            }
        }
        self.misfit(path, node, shape)
    }

    fn misfit(&mut self, path: &[String], node: &Node, shape: &Shape) -> Option<Node> {
        let found = shown(node, shape.holds_secrets());
        let message = format!("expected {}, found {found}", shape.expected());
        self.faults
            .push(Fault::new(dotted(path), &node.origin, message));
        None
    }

    /// The value of an unknown key is never shown: it may be a secret under a misspelt name.
    pub(super) fn unknown(&mut self, path: &[String], origin: &Origin) {
        let fault = Fault::new(dotted(path), origin, "no such setting")
            .suggesting(self.catalog.nearest(path));
        self.faults.push(fault);
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
        Value::Text(text) | Value::Scalar(Json::String(text)) => format!("{text:?}"),
        Value::Scalar(scalar) => scalar.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A list or table in one line of text: `a,b`, `["a", "b"]` or `{ a = 1 }`.
fn inline(text: &str, shape: &Shape, origin: &Origin) -> Option<Node> {
    let text = text.trim();
    let list = matches!(shape.kind, Kind::List(_));
    let bracketed = text.starts_with(if list { '[' } else { '{' });
    if bracketed && let Some(node) = toml_file::inline(text, origin) {
        return Some(node);
    }
    if !list {
        return None;
    }
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !text.is_empty() || !item.is_empty());
    let items = items.map(|item| Node::new(origin.clone(), Value::Text(item.to_owned())));
    Some(Node::new(origin.clone(), Value::List(items.collect())))
}

/// Text as the type it should have.
fn typed(kind: &Kind, text: &str) -> Option<Json> {
    let value = match kind {
        Kind::Switch if text.eq_ignore_ascii_case("true") => Json::Bool(true),
        Kind::Switch if text.eq_ignore_ascii_case("false") => Json::Bool(false),
        Kind::Whole { .. } => text
            .parse()
            .ok()
            .and_then(serde_json::Number::from_i128)
            .map(Json::Number)?,
        Kind::Number { .. } => text
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Json::Number)?,
        Kind::Choice(_) | Kind::Duration | Kind::Size | Kind::Text { .. } => Json::from(text),
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
