//! What settings may look like, read from the JSON Schema of their structs: which keys exist, which
//! are secret, and what each one takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::units::{DURATION, SIZE};

/// What one key takes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// `writeOnly` in the schema: never shown.
    pub(super) secret: bool,
    /// `null` is a value, so an empty string means "unset".
    pub(super) optional: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Any,
    Table(Table),
    List(Box<Shape>),
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
    pub(super) required: BTreeSet<String>,
    /// What any other key takes: a map. Without it other keys are unknown.
    pub(super) rest: Option<Box<Shape>>,
}

/// Deeper than any settings; it ends types that contain themselves.
const MAX_DEPTH: usize = 16;

impl Shape {
    pub(super) fn of(schema: &Json, definitions: &Map<String, Json>) -> Self {
        read(schema, definitions, 0)
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            secret: false,
            optional: false,
        }
    }

    /// Whether this, or anything in it, is secret.
    pub(super) fn holds_secrets(&self) -> bool {
        self.secret
            || match &self.kind {
                Kind::Table(table) => {
                    table.keys.values().any(Self::holds_secrets)
                        || table.rest.as_ref().is_some_and(|rest| rest.holds_secrets())
                }
                Kind::List(item) => item.holds_secrets(),
                Kind::Either(either) => either.iter().any(Self::holds_secrets),
                _ => false,
            }
    }

    /// The shape at `path`, or of the last value on the way that is not a table.
    pub(super) fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        let mut shape = self;
        for key in path {
            shape = match &shape.kind {
                Kind::Table(table) => table.get(key.as_ref())?,
                Kind::List(item) => item,
                _ => return Some(shape),
            };
        }
        Some(shape)
    }

    /// Every key there is, tables included, each as its path.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, at: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
        let Kind::Table(table) = &self.kind else {
            return;
        };
        for (key, shape) in &table.keys {
            at.push(key.clone());
            paths.push(at.clone());
            shape.collect_paths(at, paths);
            at.pop();
        }
    }

    /// What this takes, in words.
    pub(super) fn expected(&self) -> String {
        match &self.kind {
            Kind::Any => "any value".into(),
            Kind::Table(_) => "a table".into(),
            Kind::List(item) => format!("a list, each {}", item.expected()),
            Kind::Switch => "true or false".into(),
            Kind::Whole { min, max } => whole(*min, *max),
            Kind::Number { min, max } => number(*min, *max),
            Kind::Choice(words) => match words.as_slice() {
                [word] => format!("{word:?}"),
                words => {
                    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                    format!("one of {}", words.join(", "))
                }
            },
            Kind::Duration => super::units::DURATION_EXPECTED.into(),
            Kind::Size => super::units::SIZE_EXPECTED.into(),
            Kind::Text {
                min: 0,
                max: usize::MAX,
            } => "a string".into(),
            Kind::Text {
                min: 1,
                max: usize::MAX,
            } => "a string that is not empty".into(),
            Kind::Text {
                min,
                max: usize::MAX,
            } => format!("a string of at least {min} characters"),
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
            Kind::List(_) => Json::Array(Vec::new()),
            Kind::Switch => Json::Bool(false),
            Kind::Whole { min, max } => {
                Json::from(i64::try_from(0_i128.clamp(*min, *max)).unwrap_or(0))
            }
            Kind::Number { min, max } => Json::from(0_f64.max(*min).min(*max)),
            Kind::Choice(words) => words.first().cloned().into(),
            Kind::Duration => "0s".into(),
            Kind::Size => 0.into(),
            Kind::Text { min, .. } => "x".repeat((*min).min(1000)).into(),
            Kind::Either(either) => either.first().map_or(Json::Null, Self::placeholder),
        }
    }
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Shape> {
        self.keys.get(key).or(self.rest.as_deref())
    }

    /// Both tables in one, as for the variants of a tagged enum: any key of either is known, and
    /// only what both require is required.
    fn or(mut self, other: Self) -> Self {
        self.required.retain(|key| other.required.contains(key));
        self.join(other)
    }

    /// Both tables in one, as for flattened structs.
    fn and(mut self, other: Self) -> Self {
        self.required.extend(other.required.iter().cloned());
        self.join(other)
    }

    fn join(mut self, other: Self) -> Self {
        for (key, shape) in other.keys {
            match self.keys.remove(&key) {
                Some(mine) => self.keys.insert(key, either(vec![mine, shape])),
                None => self.keys.insert(key, shape),
            };
        }
        self.rest = self.rest.or(other.rest);
        self
    }
}

fn read(schema: &Json, definitions: &Map<String, Json>, depth: usize) -> Shape {
    let Json::Object(schema) = schema else {
        return Shape::new(Kind::Any);
    };
    if depth > MAX_DEPTH {
        return Shape::new(Kind::Any);
    }
    let each = |list: &Json| -> Vec<Shape> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .map(|schema| read(schema, definitions, depth + 1))
            .collect()
    };

    let mut shape = if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
        let name = name.rsplit('/').next().unwrap_or(name);
        definitions
            .get(name)
            .map_or(Shape::new(Kind::Any), |schema| {
                read(schema, definitions, depth + 1)
            })
    } else if let Some(word) = schema.get("const") {
        choice(std::slice::from_ref(word))
    } else if let Some(Json::Array(words)) = schema.get("enum") {
        choice(words)
    } else {
        match schema.get("type") {
            Some(Json::String(name)) => typed(name, schema, definitions, depth),
            Some(Json::Array(names))
                if schema.get("format").and_then(Json::as_str) != Some(SIZE) =>
            {
                either(
                    names
                        .iter()
                        .filter_map(Json::as_str)
                        .map(|name| typed(name, schema, definitions, depth))
                        .collect(),
                )
            }
            Some(_) => Shape::new(Kind::Size),
            None if schema.contains_key("properties") => {
                typed("object", schema, definitions, depth)
            }
            None => Shape::new(Kind::Any),
        }
    };

    for key in ["oneOf", "anyOf"] {
        if let Some(list) = schema.get(key) {
            shape = both(shape, either(each(list)));
        }
    }
    if let Some(list) = schema.get("allOf") {
        shape = each(list).into_iter().fold(shape, both);
    }
    shape.secret |= schema.get("writeOnly") == Some(&Json::Bool(true));
    shape
}

/// The shape of a single `type`; what it says beside the type narrows it.
fn typed(
    name: &str,
    schema: &Map<String, Json>,
    definitions: &Map<String, Json>,
    depth: usize,
) -> Shape {
    let inner = |schema: &Json| Box::new(read(schema, definitions, depth + 1));
    let format = schema.get("format").and_then(Json::as_str);
    let length = |key: &str| {
        schema
            .get(key)
            .and_then(Json::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    Shape::new(match name {
        "null" => {
            return Shape {
                optional: true,
                ..Shape::new(Kind::Either(Vec::new()))
            };
        }
        "boolean" => Kind::Switch,
        "integer" if format == Some(SIZE) => Kind::Size,
        "integer" => {
            let (min, max) = integer_range(format);
            let bound = |key: &str| {
                schema
                    .get(key)
                    .and_then(Json::as_f64)
                    .map(|bound| bound as i128)
            };
            Kind::Whole {
                min: bound("minimum")
                    .or(bound("exclusiveMinimum").map(|n| n + 1))
                    .unwrap_or(min)
                    .max(min),
                max: bound("maximum")
                    .or(bound("exclusiveMaximum").map(|n| n - 1))
                    .unwrap_or(max)
                    .min(max),
            }
        }
        "number" => Kind::Number {
            min: schema
                .get("minimum")
                .and_then(Json::as_f64)
                .unwrap_or(f64::NEG_INFINITY),
            max: schema
                .get("maximum")
                .and_then(Json::as_f64)
                .unwrap_or(f64::INFINITY),
        },
        "string" if format == Some(DURATION) => Kind::Duration,
        "string" if format == Some(SIZE) => Kind::Size,
        "string" => Kind::Text {
            min: length("minLength").unwrap_or(0),
            max: length("maxLength").unwrap_or(usize::MAX),
        },
        "array" => Kind::List(
            schema
                .get("items")
                .map_or(Box::new(Shape::new(Kind::Any)), inner),
        ),
        "object" => {
            let properties = schema.get("properties").and_then(Json::as_object);
            let rest = match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => None,
                Some(schema) => Some(inner(schema)),
                None => schema
                    .get("patternProperties")
                    .and_then(Json::as_object)
                    .and_then(|patterns| patterns.values().next())
                    .map(inner),
            };
            let required = schema
                .get("required")
                .and_then(Json::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            Kind::Table(Table {
                keys: properties
                    .into_iter()
                    .flatten()
                    .map(|(key, schema)| (key.clone(), *inner(schema)))
                    .collect(),
                required: required
                    .iter()
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect(),
                rest,
            })
        }
        _ => Kind::Any,
    })
}

/// Schemars names the integer type in `format`; a type without one holds any integer.
fn integer_range(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("uint128") => (0, i128::MAX),
        _ => (i128::MIN, i128::MAX),
    }
}

fn choice(words: &[Json]) -> Shape {
    let optional = words.contains(&Json::Null);
    let words: Option<Vec<String>> = words
        .iter()
        .filter(|word| !word.is_null())
        .map(|word| word.as_str().map(str::to_owned))
        .collect();
    // Constants that are not words are rare; serde judges them.
    let kind = words.map_or(Kind::Any, Kind::Choice);
    Shape {
        optional,
        ..Shape::new(kind)
    }
}

/// One shape for several: `null` makes it optional, words and tables join, text goes last.
fn either(shapes: Vec<Shape>) -> Shape {
    let mut joined = Shape::new(Kind::Any);
    let mut words: Vec<String> = Vec::new();
    let mut table: Option<Table> = None;
    let mut others: Vec<Shape> = Vec::new();
    for shape in shapes {
        joined.secret |= shape.secret;
        joined.optional |= shape.optional;
        match shape.kind {
            Kind::Either(inner) => others.extend(inner),
            Kind::Choice(more) => words.extend(
                more.into_iter()
                    .filter(|word| !words.contains(word))
                    .collect::<Vec<_>>(),
            ),
            Kind::Table(more) => {
                table = Some(match table {
                    Some(table) => table.or(more),
                    None => more,
                });
            }
            kind => others.push(Shape { kind, ..shape }),
        }
    }
    if !words.is_empty() {
        others.push(Shape::new(Kind::Choice(words)));
    }
    others.extend(table.map(|table| Shape::new(Kind::Table(table))));
    others.sort_by_key(|shape| matches!(shape.kind, Kind::Text { .. }));
    joined.kind = match others.len() {
        1 => others.remove(0).kind,
        _ => Kind::Either(others),
    };
    joined
}

/// A schema that says two things of the same value.
fn both(one: Shape, other: Shape) -> Shape {
    let secret = one.secret || other.secret;
    let kind = match (one.kind, other.kind) {
        (Kind::Table(one), Kind::Table(other)) => Kind::Table(one.and(other)),
        (Kind::Any, kind) | (kind, _) => kind,
    };
    Shape {
        kind,
        secret,
        optional: one.optional || other.optional,
    }
}

fn whole(min: i128, max: i128) -> String {
    let upper = max < i64::MAX.into();
    match (min > i64::MIN.into(), upper) {
        (true, true) => format!("a whole number from {min} to {max}"),
        (true, false) => format!("a whole number, at least {min}"),
        (false, true) => format!("a whole number, at most {max}"),
        (false, false) => "a whole number".into(),
    }
}

fn number(min: f64, max: f64) -> String {
    match (min.is_finite(), max.is_finite()) {
        (true, true) => format!("a number from {min} to {max}"),
        (true, false) => format!("a number, at least {min}"),
        (false, true) => format!("a number, at most {max}"),
        (false, false) => "a number".into(),
    }
}
