//! TOML text as a tree in which every value knows its line.

use serde_json::Value as Json;
use toml::de::{DeInteger, DeTable, DeValue};

use super::tree::{Node, Origin, Value};

/// What a file says; otherwise each thing that is not TOML, with its line and column.
pub(super) fn parse(path: &str, text: &str) -> Result<Node, Vec<(Origin, String)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = |at: usize| {
            let (line, _) = position(text, at);
            Origin::File {
                path: path.to_owned(),
                line: Some(line),
                column: None,
            }
        };
        return Ok(from_table(table.get_ref(), Origin::file(path), &place));
    }
    let faults = errors.iter().map(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let origin = Origin::File {
            path: path.to_owned(),
            line: Some(line),
            column: Some(column),
        };
        // The error's own Display quotes the line, and with it a secret perhaps.
        (
            origin,
            format!("not TOML: {}", error.message().replace('\n', ", ")),
        )
    });
    Err(faults.collect())
}

/// A single value, as in a variable; `None` if it is not TOML.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    let parsed = DeValue::parse(text).ok()?;
    Some(from_value(parsed.get_ref(), origin.clone(), &|_| {
        origin.clone()
    }))
}

fn from_table(table: &DeTable<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let origin = place(key.span().start);
        (
            key.get_ref().to_string(),
            from_value(value.get_ref(), origin, place),
        )
    });
    Node::new(origin, Value::Table(entries.collect()))
}

fn from_value(value: &DeValue<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let scalar = match value {
        DeValue::Table(table) => return from_table(table, origin, place),
        DeValue::Array(items) => {
            let items = items
                .iter()
                .map(|item| from_value(item.get_ref(), place(item.span().start), place));
            return Node::new(origin, Value::List(items.collect()));
        }
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(integer) => from_integer(integer),
        // JSON has no infinity: it stays text, and so is found to be no number.
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map_or_else(|| Json::from(float.as_str()), Json::from),
        DeValue::Boolean(switch) => Json::from(*switch),
        DeValue::Datetime(time) => Json::from(time.to_string()),
    };
    Node::new(origin, Value::Scalar(scalar))
}

/// What no integer holds stays text too.
fn from_integer(integer: &DeInteger<'_>) -> Json {
    let digits = integer.as_str();
    i128::from_str_radix(digits, integer.radix())
        .ok()
        .and_then(serde_json::Number::from_i128)
        .map_or_else(|| Json::from(digits), Json::Number)
}

/// Line and column of a byte, both from 1, columns in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
