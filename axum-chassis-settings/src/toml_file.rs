//! A TOML file as a source whose values have their line. `config`'s own TOML source stops at the first syntax error,
//! and quotes the line, which may contain a secret.

use config::{ConfigError, Source, Value};
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Invalid};
use crate::files::File;
use crate::layer::{Values, number};

impl Source for File {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Values, ConfigError> {
        let unread = |problem: &String| vec![Fault::new(&[], &self.path, problem)];
        let text = self.text.as_ref().map_err(unread);
        let table = text.and_then(|text| parse(&self.path, text));
        table.map_err(|faults| ConfigError::Foreign(Box::new(Invalid { faults })))
    }
}

fn parse(path: &str, text: &str) -> Result<Values, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = |at: usize| format!("{path}:{}", position(text, at).0);
        return Ok(from_table(table.get_ref(), &place));
    }
    let faults = errors.iter().map(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        // The error's own `Display` would quote the line.
        let problem = format!("invalid TOML: {}", error.message().replace('\n', ", "));
        Fault::new(&[], &format!("{path}:{line}:{column}"), problem)
    });
    Err(faults.collect())
}

/// Parses a single value, as in an environment variable; `None` if it is not TOML.
pub(crate) fn parse_value(text: &str, origin: &str) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(from_value(parsed.get_ref(), origin.to_owned(), &|_| {
        origin.to_owned()
    }))
}

fn from_table(table: &DeTable<'_>, place: &dyn Fn(usize) -> String) -> Values {
    let entries = table.iter().map(|(key, value)| {
        let origin = place(key.span().start);
        let value = from_value(value.get_ref(), origin, place);
        (key.get_ref().to_string(), value)
    });
    entries.collect()
}

fn from_value(value: &DeValue<'_>, origin: String, place: &dyn Fn(usize) -> String) -> Value {
    let kind = match value {
        DeValue::Table(table) => from_table(table, place).into(),
        DeValue::Array(items) => {
            let item = |item: &toml::Spanned<DeValue<'_>>| {
                from_value(item.get_ref(), place(item.span().start), place)
            };
            items.iter().map(item).collect::<Vec<_>>().into()
        }
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) => number(integer.as_str(), integer.radix()),
        // Structs are not read from infinity or NaN, so these stay text.
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            _ => float.as_str().into(),
        },
        DeValue::Boolean(switch) => (*switch).into(),
        DeValue::Datetime(time) => time.to_string().into(),
    };
    Value::new(Some(&origin), kind)
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
