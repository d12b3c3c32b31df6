//! Reads the shape of settings from the JSON Schema of their structs: of JSON Schema, what schemars
//! writes. What it does not understand takes any value, and serde is the judge of it. `config` learns
//! what there is from nobody but serde, too late to suggest a name or to tell a secret.

use serde_json::{Map, Value as Json};

use super::network::NETWORK;
use super::shape::{Kind, List, Shape, Table};
use super::units::{DURATION, SIZE};

/// Where a struct lists the old names of a key, which schemars does not read from serde's `alias`.
const ALIASES: &str = "x-aliases";
/// Only types that contain themselves are referred to; that far down their settings are checked.
const MAX_REFERENCES: usize = 4;

pub(super) fn shape(schema: &Json, definitions: &Map<String, Json>) -> Shape {
    Reader {
        definitions,
        references: 0,
    }
    .read(schema)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    definitions: &'a Map<String, Json>,
    references: usize,
}

impl Reader<'_> {
    fn read(self, schema: &Json) -> Shape {
        let Json::Object(schema) = schema else {
            return Shape::new(Kind::Any);
        };
        let mut shape = match (
            schema.get("$ref"),
            schema.get("const"),
            schema.get("enum"),
            schema.get("type"),
        ) {
            (Some(Json::String(name)), ..) => self.refer(name),
            (_, Some(word), ..) => choice(std::slice::from_ref(word)),
            (_, _, Some(Json::Array(words)), _) => choice(words),
            (.., Some(Json::String(name))) => self.typed(name, schema),
            (.., Some(Json::Array(names))) => {
                let names = names.iter().filter_map(Json::as_str);
                either(names.map(|name| self.typed(name, schema)).collect())
            }
            _ => Shape::new(Kind::Any),
        };
        for several in ["oneOf", "anyOf"].map(|key| items(schema, key)) {
            if !several.is_empty() {
                let shapes = several.iter().map(|schema| self.read(schema));
                shape = both(shape, either(shapes.collect()));
            }
        }
        for schema in items(schema, "allOf") {
            shape = both(shape, self.read(schema));
        }
        shape.secret |= schema.get("writeOnly") == Some(&Json::Bool(true));
        shape.default = schema.get("default").cloned();
        shape
    }

    fn refer(self, name: &str) -> Shape {
        let name = name.rsplit('/').next().unwrap_or(name);
        match self.definitions.get(name) {
            Some(schema) if self.references < MAX_REFERENCES => Self {
                references: self.references + 1,
                ..self
            }
            .read(schema),
            _ => Shape::new(Kind::Any),
        }
    }

    /// The shape of a single `type`; what the schema says beside the type narrows it.
    fn typed(self, name: &str, schema: &Map<String, Json>) -> Shape {
        let format = schema.get("format").and_then(Json::as_str);
        let number = |key: &str| schema.get(key).and_then(Json::as_f64);
        let length = |key: &str| usize::try_from(schema.get(key)?.as_u64()?).ok();
        Shape::new(match name {
            "null" => {
                return Shape {
                    optional: true,
                    ..Shape::new(Kind::Either(Vec::new()))
                };
            }
            "boolean" => Kind::Switch,
            "integer" | "string" if format == Some(SIZE) => Kind::Size,
            "string" if format == Some(DURATION) => Kind::Duration,
            "string" if format == Some(NETWORK) => Kind::Network,
            "string" => Kind::Text {
                min: length("minLength").unwrap_or(0),
                max: length("maxLength").unwrap_or(usize::MAX),
            },
            "integer" => {
                let (min, max) = integer_range(format);
                let lower =
                    number("minimum").or(number("exclusiveMinimum").map(|above| above + 1.0));
                let upper =
                    number("maximum").or(number("exclusiveMaximum").map(|below| below - 1.0));
                Kind::Whole {
                    min: lower.map_or(min, |bound| min.max(bound as i128)),
                    // As a float, the bound of a large type is rounded up.
                    max: upper.map_or(max, |bound| max.min(bound as i128)),
                }
            }
            "number" => Kind::Number {
                min: number("minimum").unwrap_or(f64::NEG_INFINITY),
                max: number("maximum").unwrap_or(f64::INFINITY),
            },
            "array" => {
                let first = items(schema, "prefixItems").iter();
                let rest = schema.get("items").map(|schema| self.read(schema));
                Kind::List(List {
                    first: first.map(|schema| self.read(schema)).collect(),
                    rest: Box::new(rest.unwrap_or(Shape::new(Kind::Any))),
                })
            }
            "object" => Kind::Table(self.table(schema)),
            _ => Kind::Any,
        })
    }

    fn table(self, schema: &Map<String, Json>) -> Table {
        let object = |key| schema.get(key).and_then(Json::as_object);
        let mut table = Table::default();
        for (key, schema) in object("properties").into_iter().flatten() {
            table.keys.insert(key.clone(), self.read(schema));
            let old_names = schema
                .as_object()
                .map_or(&[][..], |schema| items(schema, ALIASES));
            let old_names = old_names.iter().filter_map(Json::as_str);
            let now = |old: &str| (old.to_owned(), key.clone());
            table.old_names.extend(old_names.map(now));
        }
        let required = items(schema, "required").iter().filter_map(Json::as_str);
        table.required.extend(required.map(str::to_owned));
        // Maps with keys that are numbers have patterns for their keys.
        let pattern = object("patternProperties").and_then(|all| all.values().next());
        let additional = schema.get("additionalProperties");
        let rest = pattern.or(additional.filter(|schema| **schema != Json::Bool(false)));
        table.rest = rest.map(|schema| Box::new(self.read(schema)));
        table
    }
}

fn items<'s>(schema: &'s Map<String, Json>, key: &str) -> &'s [Json] {
    let list = schema.get(key).and_then(Json::as_array);
    list.map_or(&[], Vec::as_slice)
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
    let words = words
        .iter()
        .filter(|word| !word.is_null())
        .map(|word| word.as_str().map(str::to_owned));
    // Constants that are not words are rare.
    let kind = words.collect::<Option<_>>().map_or(Kind::Any, Kind::Choice);
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
            Kind::Choice(more) => words.extend(more),
            Kind::Table(more) => {
                table = Some(table.map_or(more.clone(), |table| variants(table, more)))
            }
            Kind::Size if others.iter().any(|other| matches!(other.kind, Kind::Size)) => {}
            kind => others.push(Shape { kind, ..shape }),
        }
    }
    if !words.is_empty() {
        let mut seen = std::collections::BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        others.push(Shape::new(Kind::Choice(words)));
    }
    others.extend(table.map(|table| Shape::new(Kind::Table(table))));
    others.sort_by_key(|shape| matches!(shape.kind, Kind::Text { .. }));
    joined.kind = if others.len() == 1 {
        others.remove(0).kind
    } else {
        Kind::Either(others)
    };
    joined
}

/// A schema that says two things of the same value.
fn both(one: Shape, other: Shape) -> Shape {
    let (secret, optional) = (one.secret || other.secret, one.optional || other.optional);
    let kind = match (one.kind, other.kind) {
        (Kind::Table(mut one), Kind::Table(other)) => {
            one.required.extend(other.required.iter().cloned());
            Kind::Table(join(one, other))
        }
        (Kind::Any, kind) | (kind, _) => kind,
    };
    Shape {
        secret,
        optional,
        ..Shape::new(kind)
    }
}

/// The variants of an enum: the keys of each are known, those that all require are required.
fn variants(mut one: Table, other: Table) -> Table {
    one.required.retain(|key| other.required.contains(key));
    Table {
        variants: true,
        ..join(one, other)
    }
}

fn join(mut one: Table, other: Table) -> Table {
    for (key, shape) in other.keys {
        let shape = match one.keys.remove(&key) {
            Some(same) => either(vec![same, shape]),
            None => shape,
        };
        one.keys.insert(key, shape);
    }
    one.old_names.extend(other.old_names);
    one.rest = one.rest.or(other.rest);
    one.variants |= other.variants;
    one
}
