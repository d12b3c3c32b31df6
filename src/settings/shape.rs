//! What settings may look like: which keys exist, which are secret, and what each one takes. This is
//! what strictness takes, of which `config` has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use config::Config;
use serde_json::Value as Json;

use super::layer::{Table as Values, from_json, layer};
use super::network::NETWORK_EXPECTED;
use super::units::{DURATION_EXPECTED, SIZE_EXPECTED};

/// What one key takes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// Never shown.
    pub(super) secret: bool,
    /// `null` is a value, so an empty string means "unset".
    pub(super) optional: bool,
    /// What the struct that holds the key says of it.
    pub(super) default: Option<Json>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Any,
    Table(Table),
    List(List),
    Switch,
    Whole {
        min: i128,
        max: i128,
    },
    Number {
        min: f64,
        max: f64,
    },
    Choice(Vec<String>),
    Duration,
    Size,
    Network,
    Text {
        min: usize,
        max: usize,
    },
    /// More than one of the above; text last, since anything written in a variable is text.
    Either(Vec<Shape>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) keys: BTreeMap<String, Shape>,
    /// What keys were called before, and what they are called now.
    pub(super) old_names: BTreeMap<String, String>,
    pub(super) required: BTreeSet<String>,
    /// What any other key takes: a map. Without it other keys are unknown.
    pub(super) rest: Option<Box<Shape>>,
    /// The variants of an enum, in one.
    pub(super) variants: bool,
}

#[derive(Clone, Debug)]
pub(super) struct List {
    /// The items of a tuple.
    pub(super) first: Vec<Shape>,
    pub(super) rest: Box<Shape>,
}

impl Shape {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            secret: false,
            optional: false,
            default: None,
        }
    }

    /// Whether this, or anything in it, is secret.
    pub(super) fn holds_secrets(&self) -> bool {
        self.secret || self.inner().any(Self::holds_secrets)
    }

    fn holds_variants(&self) -> bool {
        matches!(&self.kind, Kind::Table(table) if table.variants)
            || self.inner().any(Self::holds_variants)
    }

    fn inner(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.kind {
            Kind::Table(table) => Box::new(table.keys.values().chain(table.rest.as_deref())),
            Kind::List(list) => Box::new(list.first.iter().chain([&*list.rest])),
            Kind::Either(either) => Box::new(either.iter()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The table that this takes, perhaps among other things.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            Kind::Either(either) => either.iter().find_map(Self::table),
            _ => None,
        }
    }

    /// The list that this takes, perhaps among other things.
    pub(super) fn list(&self) -> Option<&List> {
        match &self.kind {
            Kind::List(list) => Some(list),
            Kind::Either(either) => either.iter().find_map(Self::list),
            _ => None,
        }
    }

    /// The shape at `path`, or of the last value on the way that has none in it.
    pub(super) fn at(&self, path: &[String]) -> Option<&Self> {
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

    /// The lowest layer: the sections as the structs that hold them say, which may differ from
    /// what a section's own struct says of its keys. Left to serde are secrets, which no schema
    /// tells, and variants, of which only one can be.
    pub(super) fn defaults(&self) -> Config {
        let plain = |shape: &Self| {
            matches!(shape.kind, Kind::Table(_))
                && !shape.holds_secrets()
                && !shape.holds_variants()
        };
        let keys = self.table().into_iter().flat_map(|table| &table.keys);
        let sections = keys.filter(|(_, shape)| plain(shape));
        let defaults = sections.filter_map(|(key, shape)| {
            let default = shape.default.as_ref().filter(|json| json.is_object())?;
            Some((key.clone(), from_json(default)))
        });
        layer(defaults.collect::<Values>().into())
    }

    /// Every key there is, tables included, each as its path.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = self
            .list()
            .map(|list| list.rest.paths())
            .unwrap_or_default();
        for (key, shape) in self.table().into_iter().flat_map(|table| &table.keys) {
            paths.push(vec![key.clone()]);
            let inner = shape.paths().into_iter();
            paths.extend(inner.map(|path| [vec![key.clone()], path].concat()));
        }
        paths
    }

    /// What this takes, in words.
    pub(super) fn expected(&self) -> String {
        const ANY: usize = usize::MAX;
        match &self.kind {
            Kind::Any => "any value".into(),
            Kind::Table(_) => "a table".into(),
            Kind::List(list) if list.first.is_empty() => {
                format!("a list, each {}", list.rest.expected())
            }
            Kind::List(list) => format!("a list of {}", list.first.len()),
            Kind::Switch => "true or false".into(),
            Kind::Whole { min, max } => {
                let (low, high) = (*min > i64::MIN.into(), *max < i64::MAX.into());
                match range("a whole number", low.then_some(min), high.then_some(max)) {
                    unbounded if !low && !high => unbounded + " of 64 bits",
                    bounded => bounded,
                }
            }
            Kind::Number { min, max } => {
                let [min, max] =
                    [min, max].map(|bound| Some(bound).filter(|bound| bound.is_finite()));
                range("a number", min, max)
            }
            Kind::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                let one_of = if words.len() > 1 { "one of " } else { "" };
                format!("{one_of}{}", quoted.join(", "))
            }
            Kind::Duration => DURATION_EXPECTED.into(),
            Kind::Size => SIZE_EXPECTED.into(),
            Kind::Network => NETWORK_EXPECTED.into(),
            Kind::Text { min: 0, max: ANY } => "a string".into(),
            Kind::Text { min: 1, max: ANY } => "a string that is not empty".into(),
            Kind::Text { min, max: ANY } => format!("a string of at least {min} characters"),
            Kind::Text { min: 0, max } => format!("a string of at most {max} characters"),
            Kind::Text { min, max } => format!("a string of {min} to {max} characters"),
            Kind::Either(either) => {
                let either: Vec<String> = either.iter().map(Self::expected).collect();
                either.join(", or ")
            }
        }
    }

    /// Some value of this shape, to stand in for a faulty one while the search goes on.
    pub(super) fn placeholder(&self) -> Json {
        if self.optional {
            return Json::Null;
        }
        match &self.kind {
            Kind::Any => Json::Null,
            Kind::Table(table) => table
                .required
                .iter()
                .filter_map(|key| Some((key.clone(), table.keys.get(key)?.placeholder())))
                .collect(),
            Kind::List(list) => list.first.iter().map(Self::placeholder).collect(),
            Kind::Switch => false.into(),
            Kind::Whole { min, max } => i64::try_from(0_i128.clamp(*min, *max)).unwrap_or(0).into(),
            Kind::Number { min, max } => 0_f64.max(*min).min(*max).into(),
            Kind::Choice(words) => words.first().cloned().into(),
            Kind::Duration => "0s".into(),
            Kind::Size => 0.into(),
            Kind::Network => "::".into(),
            Kind::Text { min, .. } => "x".repeat((*min).min(1000)).into(),
            Kind::Either(either) => either.first().map_or(Json::Null, Self::placeholder),
        }
    }
}

impl Table {
    /// A key by its name or by an old one, with the name that it has now.
    pub(super) fn known(&self, name: &str) -> Option<(&String, &Shape)> {
        let now = || self.keys.get_key_value(self.old_names.get(name)?);
        self.keys.get_key_value(name).or_else(now)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.keys.keys().chain(self.old_names.keys())
    }

    /// The same, or a key of a map.
    pub(super) fn find<'n, 't: 'n>(&'t self, name: &'n String) -> Option<(&'n String, &'t Shape)> {
        let any = || Some((name, self.rest.as_deref()?));
        self.known(name).or_else(any)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Shape> {
        self.keys.get(key).or(self.rest.as_deref())
    }
}

impl List {
    pub(super) fn get(&self, at: usize) -> &Shape {
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
