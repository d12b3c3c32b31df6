//! Validates a layer against the shape of the settings, and converts text to the type of its key. `config` accepts any
//! key, and any value until a struct is read.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use config::{Value, ValueKind};

use crate::added::settled;
use crate::fault::{Fault, Findings};
use crate::layer::{Values, from_json, is_private, nested, number, sorted};
use crate::names::{are_alike, below, dotted};
use crate::network::Network;
use crate::redact;
use crate::shape::{Kind, Shape, Table};
use crate::toml_file;
use crate::units::{Duration, Size};

/// The maximum length of a value in a message: long enough to recognise the value, and short enough for one line.
const MAX_SHOWN: usize = 60;

/// The meaning of strings in a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strings {
    /// Strings, as in TOML.
    Typed,
    /// Text that is converted to the type of its key: environment variables, secret files and flags.
    Text,
}

/// Checks one layer after the other: adds errors to `findings`, and gives the other values their types.
pub(crate) struct Checker<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) findings: Findings,
    /// The layers, lowest first, each as a list of checked tables.
    pub(crate) layers: Vec<Vec<Value>>,
    /// Whether serde accepts a word that the schema does not list.
    takes: &'a dyn Fn(&[String], &str) -> bool,
    strings: Strings,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(shape: &'a Shape, takes: &'a dyn Fn(&[String], &str) -> bool) -> Self {
        Self {
            shape,
            findings: Findings::default(),
            layers: vec![vec![shape.defaults()]],
            takes,
            strings: Strings::Typed,
        }
    }

    /// Begins a higher layer.
    pub(crate) fn begin_layer(&mut self) {
        self.layers.push(Vec::new());
    }

    fn add(&mut self, table: Option<Value>) {
        if let Some(layer) = self.layers.last_mut() {
            layer.extend(table);
        }
    }

    /// Checks a table.
    pub(crate) fn table(&mut self, table: &Value, strings: Strings) {
        self.strings = strings;
        let checked = self.check(&[], table, self.shape);
        self.add(checked);
    }

    /// Checks one value of a layer that consists of single values, such as environment variables.
    pub(crate) fn entry(&mut self, keys: &[String], text: &OsStr, origin: &String) {
        let (path, shape) = match self.shape.resolve(keys) {
            Ok(found) => found,
            Err(path) => {
                let whole = r#"cannot set one item of a list, expected the whole list: "a,b" or '["a", "b"]'"#;
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
            let message = "invalid UTF-8";
            return self.findings.spoil(&path, origin, message);
        };
        self.strings = Strings::Text;
        let checked = self.check(&path, &Value::new(Some(origin), text), shape);
        self.add(checked.map(|value| nested(&path, value)));
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
            let found = shown(value, self.shape.hides(path));
            let message = match (&shape.kinds[..], &value.kind) {
                ([Kind::Network], ValueKind::String(text)) => {
                    text.parse::<Network>().err().map(|error| error.to_string())
                }
                _ => None,
            };
            let is_text = matches!(value.kind, ValueKind::String(_));
            let form = match shape.section() {
                Some(_) if is_text && self.strings == Strings::Text => {
                    r#" such as '{ key = "value" }'"#
                }
                _ => "",
            };
            let expected = format!("{}{form}", shape.expected());
            let message = match message {
                Some(message) => format!("invalid value {found}, {message}"),
                None => invalid(&found, &expected),
            };
            self.findings.spoil(path, origin, message);
        }
        Some(Value::new(Some(&origin.to_owned()), kind?))
    }

    /// Reads the value as one of several kinds, and discards the errors.
    fn attempt(&mut self, path: &[String], value: &Value, kind: &Kind) -> Option<ValueKind> {
        let mut trial = Checker {
            findings: Findings::default(),
            layers: Vec::new(),
            ..*self
        };
        let read = trial.read(path, value, kind);
        let read = read.filter(|_| trial.findings.faults.is_empty())?;
        self.findings.warnings.extend(trial.findings.warnings);
        Some(read)
    }

    /// Reads the value as this kind; `None` if it is of another kind.
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
            // schemars lists an enum's names without serde's `alias`es.
            (Kind::Choice(words), ValueKind::String(text)) => {
                let is_known = words.contains(text) || (self.takes)(path, text);
                is_known.then(|| text.as_str().into())
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
                let message = format!("already set by another name of `{key}`");
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

    /// Adds a warning for an old name of a key, which the struct still lists.
    fn old(&mut self, written: &[String], origin: &str, now: &[String]) {
        let message = format!("deprecated name, use `{}`", dotted(now));
        let warning = Fault::new(written, origin, message);
        self.findings.warnings.push(warning);
    }

    /// Adds an error for an unknown key. The value is never shown, because it may be a secret with a misspelt name.
    fn unknown(&mut self, path: &[String], origin: &str) {
        if path.iter().all(String::is_empty) {
            let message = "missing key, expected one such as server.port";
            return self.findings.note(&[], origin, message);
        }
        self.findings.faults.push(Fault {
            suggestion: self.shape.nearest(path),
            ..Fault::new(path, origin, "unknown setting")
        });
    }
}

/// The input, on one line and not too long. A secret, or any value from a private source, is described instead.
pub(crate) fn shown(value: &Value, hidden: bool) -> String {
    let text = match &value.kind {
        ValueKind::Table(_) => return "(a table)".into(),
        ValueKind::Array(_) => return "(a list)".into(),
        ValueKind::Nil => return "(none)".into(),
        _ if hidden || is_private(value) => return described(&value.kind),
        // Keep the decimal point: `80.0` is not `80`.
        ValueKind::Float(number) => return format!("{number:?}"),
        ValueKind::String(text) => redact::redact_secrets(text),
        scalar => return scalar.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The message for a value that its key does not accept.
pub(crate) fn invalid(found: &str, expected: &str) -> String {
    format!("invalid value {found}, expected {expected}")
}

/// The kind and the length of a value that is not shown.
fn described(value: &ValueKind) -> String {
    let text = match value {
        ValueKind::Boolean(_) => return "(a boolean)".into(),
        scalar => scalar.to_string(),
    };
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let kind = if is_number { "number" } else { "text" };
    let spaces = if text.trim() == text {
        ""
    } else {
        " with spaces around it"
    };
    match text.chars().count() {
        0 => "(empty text)".into(),
        1 => format!("({kind} of 1 character{spaces})"),
        length => format!("({kind} of {length} characters{spaces})"),
    }
}

/// Parses a list or table in one line of text: `a,b`, `["a", "b"]` or `{ a = 1 }`. It may also be JSON, which tools
/// write.
fn inline(text: &str, kind: &Kind, origin: &str) -> Option<(Value, Strings)> {
    let is_list = matches!(kind, Kind::List(_));
    let text = text.trim();
    if text.starts_with(if is_list { '[' } else { '{' }) {
        let json = || serde_json::from_str(text).map(|json| settled(from_json(&json), origin));
        if let Some(value) = toml_file::parse_value(text, origin).or_else(|| json().ok()) {
            return Some((value, Strings::Typed));
        }
    }
    let origin = Some(&origin.to_owned());
    // As in TOML, the last item may have a comma after it.
    let text = text.strip_suffix(',').unwrap_or(text);
    let items = text.split(',').filter(|_| !text.is_empty());
    let items = items.map(|item| Value::new(origin, item.trim()));
    is_list.then(|| (Value::new(origin, items.collect::<Vec<_>>()), Strings::Text))
}

/// Converts text to the type of its key, if possible.
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
