//! Holds what was written against what may be written, and gives text its type. To `config` any key
//! will do, and any value until a struct is read: of what a later layer covers it says nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use config::{Config, Value, ValueKind};

use super::fault::Findings;
use super::layer::{Table as Values, is_secret, layer, nested, number, sorted, with_kind};
use super::names::{Catalog, are_alike, below, dotted};
use super::network::Network;
use super::secret::REDACTED;
use super::shape::{Kind, Shape, Table};
use super::toml_file;
use super::units::{Duration, Size};

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
    pub(super) catalog: &'a Catalog,
    pub(super) findings: Findings,
    strings: Strings,
}

impl<'a> Checker<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            findings: Findings::default(),
            strings: Strings::Typed,
        }
    }

    /// A layer that is written as one table.
    pub(super) fn table(&mut self, table: &Value, strings: Strings) -> Option<Config> {
        self.strings = strings;
        self.check(&[], table, &self.catalog.shape).map(layer)
    }

    /// A value of a layer that is written value by value.
    pub(super) fn entry(
        &mut self,
        keys: &[String],
        text: &OsStr,
        origin: &String,
    ) -> Option<Config> {
        let (path, shape) = match self.catalog.resolve(keys) {
            Ok(found) => found,
            Err(path) => {
                let whole = r#"a list, set as a whole: "a,b" or '["a", "b"]'"#;
                match self.catalog.list_in(&path) {
                    Some(list) => self.findings.note(list, origin, whole),
                    None => self.unknown(&path, origin),
                }
                return None;
            }
        };
        if !are_alike(keys, &path) {
            self.old(keys, origin, &path);
        }
        let Some(text) = text.to_str() else {
            let message = "expected UTF-8, found something else";
            self.findings.spoil(&path, origin, message);
            return None;
        };
        self.strings = Strings::Text;
        let checked = self.check(&path, &Value::new(Some(origin), text), shape)?;
        Some(layer(nested(&path, checked)))
    }

    fn check(&mut self, path: &[String], value: &Value, shape: &Shape) -> Option<Value> {
        let origin = value.origin().unwrap_or_default();
        let kind = match (&shape.kind, &value.kind) {
            (_, ValueKind::Nil) if shape.optional => Some(ValueKind::Nil),
            (_, ValueKind::String(text)) if shape.optional && text.is_empty() => {
                Some(ValueKind::Nil)
            }
            (Kind::Any, kind) => Some(kind.clone()),
            (Kind::Either(either), _) => {
                let mut shapes = either.iter();
                let fitting = shapes.find_map(|shape| self.attempt(path, value, shape));
                fitting.map(|value| value.kind)
            }
            (Kind::Table(table), ValueKind::Table(values)) => {
                Some(self.check_table(path, values, table))
            }
            (Kind::List(list), ValueKind::Array(items)) => {
                let item = |(at, value)| self.check(&below(path, at), value, list.get(at));
                let checked = items.iter().enumerate().filter_map(item);
                Some(checked.collect::<Vec<_>>().into())
            }
            (kind, ValueKind::String(text)) if self.strings == Strings::Text => {
                match inline(text, kind, origin) {
                    Some((value, strings)) => {
                        self.strings = strings;
                        let checked = self.check(path, &value, shape);
                        self.strings = Strings::Text;
                        return checked;
                    }
                    None => typed(kind, text),
                }
            }
            (kind, scalar) => fits(kind, scalar).then(|| scalar.clone()),
        };
        if kind.is_none() {
            let found = shown(value, shape.holds_secrets());
            let message = match (&shape.kind, &value.kind) {
                (Kind::Network, ValueKind::String(text)) => {
                    text.parse::<Network>().err().map(|error| error.to_string())
                }
                _ => None,
            };
            let expected = message.unwrap_or_else(|| format!("expected {}", shape.expected()));
            let message = format!("{expected}, found {found}");
            self.findings.spoil(path, origin, message);
        }
        Some(with_kind(value, kind?))
    }

    /// The value as one of several shapes would have it; its faults are nobody's business.
    fn attempt(&mut self, path: &[String], value: &Value, shape: &Shape) -> Option<Value> {
        let mut trial = Checker::new(self.catalog);
        trial.strings = self.strings;
        let checked = trial.check(path, value, shape);
        let checked = checked.filter(|_| trial.findings.is_empty())?;
        self.findings.warnings.extend(trial.findings.warnings);
        Some(checked)
    }

    fn check_table(&mut self, path: &[String], values: &Values, table: &Table) -> ValueKind {
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
        self.findings.warn(written, origin, message);
    }

    fn unknown(&mut self, path: &[String], origin: &str) {
        let nearest = self.catalog.nearest(path);
        self.findings.unknown(path, origin, nearest);
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
    let opening = match kind {
        Kind::List(_) => '[',
        Kind::Table(_) => '{',
        _ => return None,
    };
    let text = text.trim();
    if text.starts_with(opening)
        && let Some(value) = toml_file::parse_value(text, origin)
    {
        return Some((value, Strings::Typed));
    }
    let origin = Some(&origin.to_owned());
    let items = text.split(',').filter(|_| !text.is_empty());
    let items = items.map(|item| Value::new(origin, item.trim()));
    let list = opening == '[';
    list.then(|| (Value::new(origin, items.collect::<Vec<_>>()), Strings::Text))
}

/// Text as the type it should have.
fn typed(kind: &Kind, text: &str) -> Option<ValueKind> {
    let value = match kind {
        Kind::Switch if text.eq_ignore_ascii_case("true") => true.into(),
        Kind::Switch if text.eq_ignore_ascii_case("false") => false.into(),
        Kind::Whole { .. } => number(text, 10),
        Kind::Number { .. } => text.parse::<f64>().ok()?.into(),
        Kind::Choice(_) | Kind::Duration | Kind::Size | Kind::Network | Kind::Text { .. } => {
            text.into()
        }
        _ => return None,
    };
    fits(kind, &value).then_some(value)
}

fn fits(kind: &Kind, value: &ValueKind) -> bool {
    match (kind, value) {
        (Kind::Any, _) | (Kind::Switch, ValueKind::Boolean(_)) => true,
        (Kind::Whole { min, max }, value) => {
            whole(value).is_some_and(|number| (*min..=*max).contains(&number))
        }
        (Kind::Number { min, max }, ValueKind::Float(number)) => {
            number.is_finite() && (*min..=*max).contains(number)
        }
        (Kind::Number { min, max }, value) => {
            whole(value).is_some_and(|number| (*min..=*max).contains(&(number as f64)))
        }
        (Kind::Choice(words), ValueKind::String(text)) => words.contains(text),
        (Kind::Duration, ValueKind::String(text)) => text.parse::<Duration>().is_ok(),
        (Kind::Size, ValueKind::String(text)) => text.parse::<Size>().is_ok(),
        (Kind::Network, ValueKind::String(text)) => text.parse::<Network>().is_ok(),
        (Kind::Size, value) => whole(value).is_some_and(|bytes| bytes >= 0),
        (Kind::Text { min, max }, ValueKind::String(text)) => {
            (*min..=*max).contains(&text.chars().count())
        }
        _ => false,
    }
}

fn whole(value: &ValueKind) -> Option<i128> {
    match *value {
        ValueKind::I64(number) => Some(number.into()),
        ValueKind::U64(number) => Some(number.into()),
        _ => None,
    }
}
