//! Validates a layer against the shape of the settings, and converts text to the type of its key. `config` accepts any
//! key, and any value until a struct is read.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use config::{Config, Value, ValueKind};

use super::fault::{Fault, Findings};
use super::layer::{Table as Values, is_secret, layer, nested, number, sorted};
use super::names::{are_alike, below, dotted};
use super::secret::REDACTED;
use super::shape::{Kind, Shape, Table};
use super::toml_file;
use super::units::{Duration, Size};
use crate::network::Network;

/// Long enough to recognise a value, short enough for one line.
const MAX_SHOWN: usize = 60;

/// What the strings of a layer are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// Strings, as in TOML.
    Typed,
    /// Whatever their key takes: variables, secret files and flags know only text.
    Text,
}

/// Checks one layer after the other: what is wrong goes to `findings`, and what is left is typed.
pub(super) struct Checker<'a> {
    pub(super) shape: &'a Shape,
    pub(super) findings: Findings,
    /// Lowest first.
    pub(super) layers: Vec<Config>,
    strings: Strings,
}

impl<'a> Checker<'a> {
    pub(super) fn new(shape: &'a Shape) -> Self {
        Self {
            shape,
            findings: Findings::default(),
            layers: Vec::new(),
            strings: Strings::Typed,
        }
    }

    /// A layer that is written as one table.
    pub(super) fn table(&mut self, table: &Value, strings: Strings) {
        self.strings = strings;
        let checked = self.check(&[], table, self.shape);
        self.layers.extend(checked.map(layer));
    }

    /// A value of a layer that is written value by value.
    pub(super) fn entry(&mut self, keys: &[String], text: &OsStr, origin: &String) {
        let (path, shape) = match self.shape.resolve(keys) {
            Ok(found) => found,
            Err(path) => {
                let whole = r#"a list, set as a whole: "a,b" or '["a", "b"]'"#;
                return match self.shape.list_in(&path) {
                    Some(list) => self.findings.note(list, origin, whole),
                    None => self.unknown(&path, origin),
                };
            }
        };
        if !are_alike(keys, &path) {
            self.old(keys, origin, &path);
        }
        let Some(text) = text.to_str() else {
            let message = "expected UTF-8, found something else";
            return self.findings.spoil(&path, origin, message);
        };
        self.strings = Strings::Text;
        let checked = self.check(&path, &Value::new(Some(origin), text), shape);
        let checked = checked.map(|value| layer(nested(&path, value)));
        self.layers.extend(checked);
    }

    fn check(&mut self, path: &[String], value: &Value, shape: &Shape) -> Option<Value> {
        let kind = match (&shape.kinds[..], &value.kind) {
            (_, ValueKind::Nil) if shape.optional => Some(ValueKind::Nil),
            (_, ValueKind::String(text)) if shape.optional && text.is_empty() => {
                Some(ValueKind::Nil)
            }
            ([kind], _) => self.read(path, value, kind),
            (kinds, _) => kinds
                .iter()
                .find_map(|kind| self.attempt(path, value, kind)),
        };
        let origin = value.origin().unwrap_or_default();
        if kind.is_none() {
            let found = shown(value, shape.holds_secrets());
            let message = match (&shape.kinds[..], &value.kind) {
                ([Kind::Network], ValueKind::String(text)) => {
                    text.parse::<Network>().err().map(|error| error.to_string())
                }
                _ => None,
            };
            let expected = message.unwrap_or_else(|| format!("expected {}", shape.expected()));
            let message = format!("{expected}, found {found}");
            self.findings.spoil(path, origin, message);
        }
        Some(Value::new(Some(&origin.to_owned()), kind?))
    }

    /// The value as one of several kinds would have it; its faults are nobody's business.
    fn attempt(&mut self, path: &[String], value: &Value, kind: &Kind) -> Option<ValueKind> {
        let mut trial = Checker::new(self.shape);
        trial.strings = self.strings;
        let read = trial.read(path, value, kind);
        let read = read.filter(|_| trial.findings.faults.is_empty())?;
        self.findings.warnings.extend(trial.findings.warnings);
        Some(read)
    }

    /// The value as this kind has it; `None` if it is of another.
    fn read(&mut self, path: &[String], value: &Value, kind: &Kind) -> Option<ValueKind> {
        let text_only = self.strings == Strings::Text;
        match (kind, &value.kind) {
            (Kind::Table(table), ValueKind::Table(values)) => {
                Some(self.read_table(path, values, table))
            }
            (Kind::List(list), ValueKind::Array(items)) => {
                let item = |(at, value)| self.check(&below(path, at), value, list.get(at));
                let checked = items.iter().enumerate().filter_map(item);
                Some(checked.collect::<Vec<_>>().into())
            }
            (Kind::Table(_) | Kind::List(_), ValueKind::String(text)) if text_only => {
                let (value, strings) = inline(text, kind, value.origin().unwrap_or_default())?;
                self.strings = strings;
                let read = self.read(path, &value, kind);
                self.strings = Strings::Text;
                read
            }
            (kind, ValueKind::String(text)) if text_only => {
                Some(typed(kind, text)).filter(|typed| fits(kind, typed))
            }
            (kind, scalar) => fits(kind, scalar).then(|| scalar.clone()),
        }
    }

    fn read_table(&mut self, path: &[String], values: &Values, table: &Table) -> ValueKind {
        let mut checked = Values::new();
        let mut seen = BTreeSet::new();
        for (name, value) in sorted(values) {
            let origin = value.origin().unwrap_or_default();
            let written = below(path, name);
            let Some((key, shape)) = table.find(name) else {
                self.unknown(&written, origin);
                continue;
            };
            if key != name && (values.contains_key(key) || seen.contains(key)) {
                let message = format!("set already by another name of `{key}`");
                self.findings.note(&written, origin, message);
                continue;
            }
            let path = below(path, key);
            if key != name {
                self.old(&written, origin, &path);
            }
            seen.insert(key);
            let value = self.check(&path, value, shape);
            checked.extend(value.map(|value| (key.clone(), value)));
        }
        checked.into()
    }

    /// A key by an old name, which the struct still lists.
    fn old(&mut self, written: &[String], origin: &str, now: &[String]) {
        let message = format!("an old name of `{}`", dotted(now));
        let warning = Fault::new(written, origin, message);
        self.findings.warnings.push(warning);
    }

    /// A key that nobody knows. Its value is never shown: it may be a secret under a misspelt name.
    fn unknown(&mut self, path: &[String], origin: &str) {
        self.findings.faults.push(Fault {
            suggestion: self.shape.nearest(path),
            ..Fault::new(path, origin, "no such setting")
        });
    }
}

/// What was written, on one line and not too long; nothing at all of a secret.
pub(super) fn shown(value: &Value, secret: bool) -> String {
    let text = match &value.kind {
        ValueKind::Table(_) => return "a table".into(),
        ValueKind::Array(_) => return "a list".into(),
        _ if secret || is_secret(value) => return REDACTED.into(),
        ValueKind::Nil => return "nothing".into(),
        // With its point: `80.0` is not `80`.
        ValueKind::Float(number) => return format!("{number:?}"),
        ValueKind::String(text) => text,
        scalar => return scalar.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A list or table in one line of text: `a,b`, `["a", "b"]` or `{ a = 1 }`.
fn inline(text: &str, kind: &Kind, origin: &str) -> Option<(Value, Strings)> {
    let is_list = matches!(kind, Kind::List(_));
    let text = text.trim();
    if text.starts_with(if is_list { '[' } else { '{' })
        && let Some(value) = toml_file::parse_value(text, origin)
    {
        return Some((value, Strings::Typed));
    }
    let origin = Some(&origin.to_owned());
    let items = text.split(',').filter(|_| !text.is_empty());
    let items = items.map(|item| Value::new(origin, item.trim()));
    is_list.then(|| (Value::new(origin, items.collect::<Vec<_>>()), Strings::Text))
}

/// Text as the type it should have, where it can be.
fn typed(kind: &Kind, text: &str) -> ValueKind {
    match kind {
        Kind::Switch if text.eq_ignore_ascii_case("true") => true.into(),
        Kind::Switch if text.eq_ignore_ascii_case("false") => false.into(),
        Kind::Whole { .. } => number(text, 10),
        Kind::Number { .. } => text.parse::<f64>().map_or(text.into(), ValueKind::from),
        _ => text.into(),
    }
}

fn fits(kind: &Kind, value: &ValueKind) -> bool {
    let whole = match *value {
        ValueKind::I64(number) => Some(i128::from(number)),
        ValueKind::U64(number) => Some(number.into()),
        _ => None,
    };
    match (kind, value) {
        (Kind::Any, _) | (Kind::Switch, ValueKind::Boolean(_)) => true,
        (Kind::Whole { min, max }, _) => whole.is_some_and(|whole| (*min..=*max).contains(&whole)),
        (Kind::Number { min, max }, ValueKind::Float(number)) => {
            number.is_finite() && (*min..=*max).contains(number)
        }
        (Kind::Number { min, max }, _) => {
            whole.is_some_and(|whole| (*min..=*max).contains(&(whole as f64)))
        }
        (Kind::Choice(words), ValueKind::String(text)) => words.contains(text),
        (Kind::Duration, ValueKind::String(text)) => text.parse::<Duration>().is_ok(),
        (Kind::Size, ValueKind::String(text)) => text.parse::<Size>().is_ok(),
        (Kind::Size, _) => whole.is_some_and(|bytes| bytes >= 0),
        (Kind::Network, ValueKind::String(text)) => text.parse::<Network>().is_ok(),
        (Kind::Text { min, max }, ValueKind::String(text)) => {
            (*min..=*max).contains(&text.chars().count())
        }
        _ => false,
    }
}
