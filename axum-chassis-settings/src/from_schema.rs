//! Derives the shape of the settings from the JSON Schema that schemars generates. A schema with keywords that are not
//! supported accepts any value, and serde decides.

use std::mem::{discriminant, take};

use serde_json::{Map, Value as Json};

use crate::network::NETWORK;
use crate::shape::{Kind, List, Shape, Table};
use crate::units::{DURATION, SIZE};

/// The schema keyword for old names of a key, which schemars does not read from serde's `alias`.
const ALIASES: &str = "x-aliases";
/// The depth to which settings of a recursive type are checked. Only recursive types are references in the schema.
const MAX_REFERENCES: usize = 4;

pub(crate) fn shape(schema: &Json, definitions: &Map<String, Json>) -> Shape {
    SchemaReader {
        definitions,
        references: 0,
    }
    .read(schema)
}

#[derive(Clone, Copy)]
struct SchemaReader<'a> {
    definitions: &'a Map<String, Json>,
    references: usize,
}

impl SchemaReader<'_> {
    fn read(self, schema: &Json) -> Shape {
        let choices = [items(schema, "const"), items(schema, "enum")].concat();
        let own = if let Some(Json::String(name)) = schema.get("$ref") {
            self.refer(name)
        } else if !choices.is_empty() {
            choice(&choices)
        } else if schema.get("type").is_some() {
            either(words(schema, "type").map(|name| self.typed(name, schema)))
        } else {
            Kind::Any.into()
        };
        let several = ["oneOf", "anyOf"].map(|keyword| self.each(schema, keyword));
        let several = several.into_iter().filter(|shapes| !shapes.is_empty());
        let all = several.map(either).chain(self.each(schema, "allOf"));
        let mut shape = all.fold(own, both);
        shape.secret |= schema["writeOnly"] == true;
        shape.public |= schema["writeOnly"] == false;
        shape.default = schema.get("default").cloned();
        shape
    }

    fn each(self, schema: &Json, keyword: &str) -> Vec<Shape> {
        let schemas = items(schema, keyword).iter();
        schemas.map(|schema| self.read(schema)).collect()
    }

    fn refer(mut self, name: &str) -> Shape {
        self.references += 1;
        let name = name.rsplit('/').next().unwrap_or(name);
        match self.definitions.get(name) {
            Some(schema) if self.references <= MAX_REFERENCES => self.read(schema),
            _ => Kind::Any.into(),
        }
    }

    /// The shape of a single `type`; other keywords of the schema narrow it.
    fn typed(self, name: &str, schema: &Json) -> Shape {
        let format = schema["format"].as_str();
        let number = |key: &str| schema[key].as_f64();
        let length = |key: &str| usize::try_from(schema[key].as_u64()?).ok();
        let kind = match name {
            "null" => {
                return Shape {
                    optional: true,
                    ..Shape::default()
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
                let above = number("exclusiveMinimum").map(|above| above + 1.0);
                let below = number("exclusiveMaximum").map(|below| below - 1.0);
                let (lower, upper) = (number("minimum").or(above), number("maximum").or(below));
                Kind::Whole {
                    min: lower.map_or(min, |bound| min.max(bound as i128)),
                    // The bound is a float, which rounds the bound of a large type up. So take the smaller one.
                    max: upper.map_or(max, |bound| max.min(bound as i128)),
                }
            }
            "number" => {
                // A larger number would be read as infinity.
                let most = match format {
                    Some("float") => f32::MAX.into(),
                    _ => f64::INFINITY,
                };
                Kind::Number {
                    min: number("minimum").map_or(-most, |bound| bound.max(-most)),
                    max: number("maximum").map_or(most, |bound| bound.min(most)),
                }
            }
            "array" => Kind::List(List {
                first: self.each(schema, "prefixItems"),
                rest: Box::new(self.read(&schema["items"])),
            }),
            "object" => Kind::Table(self.table(schema)),
            _ => Kind::Any,
        };
        kind.into()
    }

    fn table(self, schema: &Json) -> Table {
        let mut table = Table::default();
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            table.keys.insert(key.clone(), self.read(schema));
            let old_names = words(schema, ALIASES);
            let now = |old: &str| (old.to_owned(), key.clone());
            table.old_names.extend(old_names.map(now));
        }
        // The aliases of an enum's variant are beside its only key.
        if let (1, Some(key)) = (table.keys.len(), table.keys.keys().next()) {
            let now = |old: &str| (old.to_owned(), key.clone());
            table.old_names.extend(words(schema, ALIASES).map(now));
        }
        let required = words(schema, "required");
        table.required.extend(required.map(str::to_owned));
        // Maps with keys that are numbers have patterns for their keys.
        let patterns = schema["patternProperties"].as_object();
        let pattern = patterns.and_then(|patterns| patterns.values().next());
        let additional = schema.get("additionalProperties");
        let rest = pattern.or(additional.filter(|schema| **schema != false));
        table.rest = rest.map(|schema| Box::new(self.read(schema)));
        table
    }
}

/// The values of a keyword: one or a list.
fn items<'s>(schema: &'s Json, keyword: &str) -> &'s [Json] {
    match schema.get(keyword) {
        Some(Json::Array(items)) => items,
        Some(item) => std::slice::from_ref(item),
        None => &[],
    }
}

fn words<'s>(schema: &'s Json, keyword: &str) -> impl Iterator<Item = &'s str> {
    items(schema, keyword).iter().filter_map(Json::as_str)
}

/// schemars writes the integer type to `format`. A type without a format accepts any integer.
fn integer_range(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint" | "uint128") => (0, u64::MAX.into()),
        _ => (i128::MIN, i128::MAX),
    }
}

fn choice(words: &[Json]) -> Shape {
    let some = words.iter().filter(|word| !word.is_null());
    let some = some.map(|word| word.as_str().map(str::to_owned));
    // Constants that are not words are rare, and accept any value.
    let kind = some.collect::<Option<_>>().map_or(Kind::Any, Kind::Choice);
    Shape {
        optional: words.contains(&Json::Null),
        ..kind.into()
    }
}

/// Joins several shapes into one: `null` makes it optional, and words and tables are combined.
fn either(shapes: impl IntoIterator<Item = Shape>) -> Shape {
    let shapes: Vec<Shape> = shapes.into_iter().collect();
    let kinds = shapes.iter().flat_map(|shape| &shape.kinds);
    let tables = kinds.filter(|kind| matches!(kind, Kind::Table(_)));
    let is_enum = tables.count() > 1;
    let mut joined = Shape::default();
    let mut variants = Vec::new();
    for shape in shapes {
        joined.secret |= shape.secret;
        joined.public |= shape.public;
        joined.optional |= shape.optional;
        for kind in shape.kinds {
            if let (Kind::Table(table), true) = (&kind, is_enum) {
                variants.push(table.clone());
            }
            let alike = |other: &&mut Kind| discriminant(*other) == discriminant(&kind);
            match (joined.kinds.iter_mut().find(alike), kind) {
                (Some(Kind::Table(table)), Kind::Table(more)) => {
                    // A key is required only if all tables require it.
                    let required = &table.required & &more.required;
                    *table = join(take(table), more);
                    table.required = required;
                }
                (Some(Kind::Choice(words)), Kind::Choice(mut more)) => {
                    more.retain(|word| !words.contains(word));
                    words.extend(more);
                }
                (Some(Kind::Size), Kind::Size) => {}
                (_, kind) => joined.kinds.push(kind),
            }
        }
    }
    let table = joined.kinds.iter_mut().find_map(|kind| match kind {
        Kind::Table(table) => Some(table),
        _ => None,
    });
    if let Some(table) = table.filter(|_| is_enum) {
        table.enums = vec![variants];
    }
    joined
}

/// Joins two schemas of the same value.
pub(crate) fn both(mut one: Shape, mut other: Shape) -> Shape {
    let kinds = match (&mut one.kinds[..], &mut other.kinds[..]) {
        ([Kind::Table(one)], [Kind::Table(other)]) => {
            vec![Kind::Table(join(take(one), take(other)))]
        }
        ([] | [Kind::Any], _) => other.kinds,
        _ => one.kinds,
    };
    Shape {
        kinds,
        secret: one.secret || other.secret,
        public: one.public || other.public,
        optional: one.optional || other.optional,
        default: None,
    }
}

fn join(mut one: Table, other: Table) -> Table {
    for (key, shape) in other.keys {
        let shape = match one.keys.remove(&key) {
            Some(same) => either([same, shape]),
            None => shape,
        };
        one.keys.insert(key, shape);
    }
    one.old_names.extend(other.old_names);
    one.required.extend(other.required);
    one.rest = one.rest.or(other.rest);
    one.enums.extend(other.enums);
    one
}
