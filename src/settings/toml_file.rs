//! TOML text as a tree in which every value knows its line.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::Fault;
use super::tree::{Node, Origin, Value};

/// Everything that can be read of a file, and a fault for each thing that cannot.
pub(super) fn parse(path: &str, text: &str) -> (Node, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let faults = errors
        .iter()
        .map(|error| {
            // The error's own Display quotes the line, and with it a secret perhaps.
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let origin = Origin::File {
                path: format!("{path}:{line}"),
                line: column,
            };
            Fault::new(
                "",
                &origin,
                format!("not TOML: {}", error.message().replace('\n', ", ")),
            )
        })
        .collect();
    let place = |at: usize| Origin::File {
        path: path.to_owned(),
        line: position(text, at).0,
    };
    (self::table(table.get_ref(), place(0), &place), faults)
}

/// A single value, as in a variable; `None` if it is not TOML.
pub(super) fn inline(text: &str, origin: &Origin) -> Option<Node> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(parsed.get_ref(), origin.clone(), &|_| origin.clone()))
}

fn table(table: &DeTable<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let origin = place(key.span().start);
        (
            key.get_ref().to_string(),
            self::value(value.get_ref(), origin, place),
        )
    });
    Node::new(origin, Value::Table(entries.collect()))
}

fn value(value: &DeValue<'_>, origin: Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    let scalar = match value {
        DeValue::Table(inner) => return table(inner, origin, place),
        DeValue::Array(items) => {
            let items = items.iter().map(|item: &Spanned<DeValue<'_>>| {
                self::value(item.get_ref(), place(item.span().start), place)
            });
            let items = items.collect();
            return Node::new(origin, Value::List(items));
        }
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(integer) => integer_value(integer),
        DeValue::Float(float) => {
            let number = float
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64);
            number.map_or_else(|| Json::from(float.as_str()), Json::Number)
        }
        DeValue::Boolean(switch) => Json::Bool(*switch),
        DeValue::Datetime(time) => Json::from(time.to_string()),
    };
    Node::new(origin, Value::Scalar(scalar))
}

/// What no integer holds stays a float, so that it is found out of range where it is used.
fn integer_value(integer: &DeInteger<'_>) -> Json {
    let digits = integer.as_str();
    i128::from_str_radix(digits, integer.radix())
        .ok()
        .and_then(serde_json::Number::from_i128)
        .or_else(|| digits.parse().ok().and_then(serde_json::Number::from_f64))
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
