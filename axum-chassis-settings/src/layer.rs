//! A validated layer, and the merge of all layers with `config`. Paths into its values are lists of keys, because
//! `config` would split keys such as `a.b`.

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde_json::Value as Json;

pub(crate) type Values = Map<String, Value>;

/// The origin of a default, which is in no layer.
pub(crate) const DEFAULT: &str = "default";
/// The prefix of confidential origins.
const SECRET: &str = "secret ";
/// The key that contains a whole layer. `config` would read the keys at the top of a source as paths; it does not do so
/// with the keys below.
const ROOT: &str = "settings";

/// Merges several tables: the last one that sets a key wins.
pub(crate) fn merge(tables: Vec<Value>) -> Result<Value, ConfigError> {
    let mut tables = tables.into_iter();
    let first = tables.next().unwrap_or_else(|| Values::new().into());
    // The others are merged into the first one, because `config` clones each value of a source several times, and the
    // first one is often the largest.
    let mut merged = Value::from(Values::from([(ROOT.to_owned(), first)]));
    for table in tables {
        // A `Config` is a source itself.
        let mut source = Config::default();
        source.cache = Values::from([(ROOT.to_owned(), table)]).into();
        source.collect_to(&mut merged)?;
    }
    let merged = merged.into_table()?.remove(ROOT);
    Ok(merged.unwrap_or_else(|| Values::new().into()))
}

/// A whole number of 64 bits. A larger one stays text, so it is reported as invalid.
pub(crate) fn number(digits: &str, radix: u32) -> ValueKind {
    match (
        i64::from_str_radix(digits, radix),
        u64::from_str_radix(digits, radix),
    ) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => digits.into(),
    }
}

/// Wraps a value in tables, so that it stands at `path`.
pub(crate) fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, key| {
        let origin = inner.origin().map(str::to_owned);
        Value::new(origin.as_ref(), Values::from([(key.clone(), inner)]))
    })
}

/// The entries of a table, sorted by key.
pub(crate) fn sorted(table: &Values) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

pub(crate) fn get<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| step(value, key))
}

fn step<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match &value.kind {
        ValueKind::Table(table) => table.get(key),
        ValueKind::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The origin of the value at `path`, or of the nearest value that contains it.
pub(crate) fn origin_of<'v>(value: &'v Value, path: &[String]) -> &'v str {
    let mut value = value;
    for key in path {
        match step(value, key) {
            Some(inner) => value = inner,
            // A table may be written in several places, so it is not the origin of a key that it lacks.
            None if matches!(value.kind, ValueKind::Table(_)) => return DEFAULT,
            None => break,
        }
    }
    first_origin(value).unwrap_or(DEFAULT)
}

/// The origin of a value. A table has none after the merge, so it is the origin of the first value in the table.
fn first_origin(value: &Value) -> Option<&str> {
    let ValueKind::Table(table) = &value.kind else {
        return value.origin();
    };
    let within = || {
        sorted(table)
            .into_iter()
            .find_map(|(_, inner)| first_origin(inner))
    };
    value.origin().or_else(within)
}

/// Whether this was written in a confidential place.
pub(crate) fn is_secret(value: &Value) -> bool {
    value.origin().is_some_and(|at| at.starts_with(SECRET))
}

/// Whether the value comes from a source that may contain secrets. Environment variables and flags are such sources,
/// too.
pub(crate) fn is_private(value: &Value) -> bool {
    let places = [SECRET, "environment variable ", "--set "];
    let is_one = |origin: &str| places.iter().any(|place| origin.starts_with(place));
    value.origin().is_some_and(is_one)
}

/// Whether this, or anything in it, was written in a confidential place.
pub(crate) fn holds_secrets(value: &Value) -> bool {
    is_secret(value)
        || match &value.kind {
            ValueKind::Table(table) => table.values().any(holds_secrets),
            ValueKind::Array(items) => items.iter().any(holds_secrets),
            _ => false,
        }
}

/// Converts to JSON, from which structs are read: `config` alone would convert `"yes"` to 1 and 1.6 to 2, and return
/// keys in another order each time.
pub(crate) fn to_json(value: &Value) -> Result<Json, ConfigError> {
    let mut json: Json = value.clone().try_deserialize()?;
    // For programs that enable serde_json's `preserve_order`.
    json.sort_all_objects();
    Ok(json)
}

/// Converts a default of the structs from JSON. `config`'s own conversion rejects numbers above `i64::MAX`.
pub(crate) fn from_json(json: &Json) -> Value {
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(switch) => (*switch).into(),
        Json::Number(float) if float.is_f64() => float.as_f64().into(),
        Json::Number(whole) => number(&whole.to_string(), 10),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(from_json).collect::<Vec<_>>().into(),
        Json::Object(table) => table
            .iter()
            .map(|(key, json)| (key.clone(), from_json(json)))
            .collect::<Values>()
            .into(),
    };
    kind.into()
}
