//! The shape of the settings: the keys, their types, and which are secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use config::Value;
use serde_json::Value as Json;

use crate::layer::{Values, from_json};
use crate::network::NETWORK_EXPECTED;
use crate::units::{DURATION_EXPECTED, SIZE_EXPECTED};

/// The values that one key accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The accepted kinds, tried in this order, which is that of serde.
    pub(crate) kinds: Vec<Kind>,
    /// The value is never shown.
    pub(crate) secret: bool,
    /// The value may be shown, although the key has the name of a secret: `"writeOnly": false`.
    pub(crate) public: bool,
    /// `null` is a value, so an empty string means "unset".
    pub(crate) optional: bool,
    /// The default in the struct that contains the key.
    pub(crate) default: Option<Json>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Any,
    Switch,
    Whole { min: i128, max: i128 },
    Number { min: f64, max: f64 },
    Duration,
    Size,
    Network,
    List(List),
    Choice(Vec<String>),
    Table(Table),
    Text { min: usize, max: usize },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) keys: BTreeMap<String, Shape>,
    /// Old names of keys, with their current names.
    pub(crate) old_names: BTreeMap<String, String>,
    pub(crate) required: BTreeSet<String>,
    /// The values of any other key, for a map. Without it, other keys are unknown.
    pub(crate) rest: Option<Box<Shape>>,
    /// The variants of each enum in the table. The keys of variants are also among the table's own keys.
    pub(crate) enums: Vec<Vec<Table>>,
}

#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The items of a tuple.
    pub(crate) first: Vec<Shape>,
    pub(crate) rest: Box<Shape>,
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        Self {
            kinds: vec![kind],
            ..Self::default()
        }
    }
}

impl Shape {
    /// Whether this, or anything in it, is secret.
    pub(crate) fn holds_secrets(&self) -> bool {
        self.secret || self.inner().any(Self::holds_secrets)
    }

    fn holds_variants(&self) -> bool {
        let is_enum = |table: &Table| !table.enums.is_empty();
        self.table().is_some_and(is_enum) || self.inner().any(Self::holds_variants)
    }

    fn inner(&self) -> impl Iterator<Item = &Self> {
        self.kinds.iter().flat_map(|kind| match kind {
            Kind::Table(table) => table.keys.values().chain(table.rest.as_deref()).collect(),
            Kind::List(list) => list.first.iter().chain([&*list.rest]).collect(),
            _ => Vec::new(),
        })
    }

    /// The table that this shape accepts, possibly in addition to other kinds.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.kinds.iter().find_map(|kind| match kind {
            Kind::Table(table) => Some(table),
            _ => None,
        })
    }

    /// The table that this shape accepts, if it accepts nothing else.
    pub(crate) fn section(&self) -> Option<&Table> {
        self.table().filter(|_| self.kinds.len() == 1)
    }

    /// The list that this shape accepts, possibly in addition to other kinds.
    pub(crate) fn list(&self) -> Option<&List> {
        self.kinds.iter().find_map(|kind| match kind {
            Kind::List(list) => Some(list),
            _ => None,
        })
    }

    /// The shape at `path`. If a value on the path contains no others, the shape of that value.
    pub(crate) fn at(&self, path: &[String]) -> Option<&Self> {
        let mut shape = self;
        for key in path {
            shape = match (shape.table(), shape.list(), key.parse()) {
                (_, Some(list), Ok(at)) => list.get(at),
                (Some(table), ..) => table.get(key)?,
                _ => return Some(shape),
            };
        }
        Some(shape)
    }

    /// The lowest layer: the sections' defaults in the structs that contain them, which may differ from the defaults of
    /// a section's own struct. Sections with secrets or variants are left to serde: a schema contains no secrets, and
    /// only one variant can be set.
    pub(crate) fn defaults(&self) -> Value {
        let keys = self.table().into_iter().flat_map(|table| &table.keys);
        let plain = keys.filter(|(_, shape)| {
            shape.section().is_some() && !shape.holds_secrets() && !shape.holds_variants()
        });
        let defaults = plain.filter_map(|(key, shape)| {
            let default = shape.default.as_ref().filter(|json| json.is_object())?;
            Some((key.clone(), from_json(default)))
        });
        defaults.collect::<Values>().into()
    }

    /// Every key there is, tables included, each with its path.
    pub(crate) fn paths(&self) -> Vec<(Vec<String>, &Self)> {
        let items = self.list().map(|list| list.rest.paths());
        let mut paths = items.unwrap_or_default();
        for (key, shape) in self.table().into_iter().flat_map(|table| &table.keys) {
            paths.push((vec![key.clone()], shape));
            let inner = shape.paths().into_iter();
            paths.extend(inner.map(|(path, shape)| ([vec![key.clone()], path].concat(), shape)));
        }
        paths
    }

    /// The accepted values, as text.
    pub(crate) fn expected(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(Kind::expected).collect();
        kinds.join(", or ")
    }

    /// A value of this shape that replaces an invalid one while the search for errors continues.
    pub(crate) fn placeholder(&self) -> Json {
        let kind = self.kinds.first().filter(|_| !self.optional);
        kind.map_or(Json::Null, Kind::placeholder)
    }
}

impl Kind {
    fn expected(&self) -> String {
        const ANY: usize = usize::MAX;
        match self {
            Self::Any => "any value".into(),
            Self::Table(_) => "a table".into(),
            Self::List(list) if list.first.is_empty() => {
                format!("a list, each {}", list.rest.expected())
            }
            Self::List(list) => format!("a list of {}", list.first.len()),
            Self::Switch => "true or false".into(),
            Self::Whole { min, max } => {
                let low = Some(min).filter(|min| **min > i64::MIN.into());
                let high = Some(max).filter(|max| **max < i64::MAX.into());
                let bits = if low.or(high).is_none() {
                    " of 64 bits"
                } else {
                    ""
                };
                range("a whole number", low, high) + bits
            }
            Self::Number { min, max } => {
                let is_bound = |bound: &&f64| bound.abs() < f32::MAX.into();
                let [low, high] = [min, max].map(|bound| Some(bound).filter(is_bound));
                let bits = if low.or(high).is_none() && max.is_finite() {
                    " of 32 bits"
                } else {
                    ""
                };
                range("a number", low, high) + bits
            }
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                let one_of = if words.len() > 1 { "one of " } else { "" };
                format!("{one_of}{}", quoted.join(", "))
            }
            Self::Duration => DURATION_EXPECTED.into(),
            Self::Size => SIZE_EXPECTED.into(),
            Self::Network => NETWORK_EXPECTED.into(),
            Self::Text { min: 0, max: ANY } => "a string".into(),
            Self::Text { min: 1, max: ANY } => "a string that is not empty".into(),
            Self::Text { min, max: ANY } => format!("a string of at least {min} characters"),
            Self::Text { min: 0, max } => format!("a string of at most {max} characters"),
            Self::Text { min, max } => format!("a string of {min} to {max} characters"),
        }
    }

    fn placeholder(&self) -> Json {
        match self {
            Self::Any => Json::Null,
            Self::Table(table) => {
                let required = table.required.iter();
                let shape = |key| Some((String::clone(key), table.keys.get(key)?.placeholder()));
                required.filter_map(shape).collect()
            }
            Self::List(list) => list.first.iter().map(Shape::placeholder).collect(),
            Self::Switch => false.into(),
            Self::Whole { min, max } => i64::try_from(0_i128.clamp(*min, *max)).unwrap_or(0).into(),
            Self::Number { min, max } => 0_f64.max(*min).min(*max).into(),
            Self::Choice(words) => words.first().cloned().into(),
            Self::Duration => "0s".into(),
            Self::Size => 0.into(),
            Self::Network => "::".into(),
            Self::Text { min, .. } => "x".repeat((*min).min(1000)).into(),
        }
    }
}

impl Table {
    /// Finds a key by its current or an old name. Returns the current name.
    pub(crate) fn known(&self, name: &str) -> Option<(&String, &Shape)> {
        let now = || self.keys.get_key_value(self.old_names.get(name)?);
        self.keys.get_key_value(name).or_else(now)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.keys.keys().chain(self.old_names.keys())
    }

    /// Like `known`, but also finds the key of a map.
    pub(crate) fn find<'n, 't: 'n>(&'t self, name: &'n String) -> Option<(&'n String, &'t Shape)> {
        let any = || Some((name, self.rest.as_deref()?));
        self.known(name).or_else(any)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Shape> {
        self.keys.get(key).or(self.rest.as_deref())
    }
}

impl List {
    pub(crate) fn get(&self, at: usize) -> &Shape {
        self.first.get(at).unwrap_or(&self.rest)
    }
}

fn range<N: Display>(what: &str, min: Option<N>, max: Option<N>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("{what} from {min} to {max}"),
        (Some(min), None) => format!("{what}, at least {min}"),
        (None, Some(max)) => format!("{what}, at most {max}"),
        (None, None) => what.to_owned(),
    }
}
