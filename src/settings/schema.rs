//! One JSON Schema for the chassis's settings and the service's own.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::Section;
use super::fault::Fault;
use super::names::Catalog;
use super::shape::{Kind, Shape, Table};
use super::tree::Origin;

/// The JSON Schema of all settings: doc comments as descriptions, defaults, secrets as `writeOnly`.
pub fn schema<A: Section, B: Section>() -> Json {
    let (chassis, service, definitions) = halves::<A, B>();
    let mut properties = Map::new();
    let mut required = Vec::new();
    for half in [chassis, service] {
        if let Some(Json::Object(more)) = half.get("properties") {
            properties.extend(more.clone());
        }
        if let Some(Json::Array(more)) = half.get("required") {
            required.extend(more.clone());
        }
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings",
        "type": "object",
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !definitions.is_empty() {
        schema["$defs"] = Json::Object(definitions);
    }
    close(&mut schema);
    schema
}

/// What the two structs take: together, and each by itself.
pub(super) struct Shapes {
    pub(super) catalog: Catalog,
    pub(super) chassis: Shape,
    pub(super) service: Shape,
    pub(super) collisions: Vec<Fault>,
}

pub(super) fn shapes<A: Section, B: Section>() -> Shapes {
    let (chassis, service, definitions) = halves::<A, B>();
    let chassis = Shape::of(&chassis, &definitions);
    let service = Shape::of(&service, &definitions);
    let mut all = Table::default();
    let mut collisions = Vec::new();
    for half in [&chassis, &service] {
        let Kind::Table(table) = &half.kind else {
            continue;
        };
        for (key, shape) in &table.keys {
            if all.keys.insert(key.clone(), shape.clone()).is_some() {
                let origin = Origin::Struct(std::any::type_name::<B>());
                collisions.push(Fault::new(
                    key,
                    &origin,
                    "the chassis has a section of this name; choose another",
                ));
            }
        }
        all.required.extend(table.required.iter().cloned());
        all.rest = all.rest.take().or_else(|| table.rest.clone());
    }
    let shape = Shape {
        kind: Kind::Table(all),
        secret: false,
        optional: false,
    };
    Shapes {
        catalog: Catalog::new(shape),
        chassis,
        service,
        collisions,
    }
}

fn halves<A: Section, B: Section>() -> (Json, Json, Map<String, Json>) {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let chassis = generator.subschema_for::<A>().to_value();
    let service = generator.subschema_for::<B>().to_value();
    let definitions = generator.take_definitions(true);
    (chassis, service, definitions)
}

/// Unknown keys are errors, so editors should say so too.
fn close(schema: &mut Json) {
    match schema {
        Json::Object(table) => {
            if table.contains_key("properties")
                && !table.contains_key("oneOf")
                && !table.contains_key("anyOf")
            {
                table
                    .entry("additionalProperties")
                    .or_insert(Json::Bool(false));
            }
            for (key, inner) in table {
                if !["default", "examples", "const", "enum"].contains(&key.as_str()) {
                    close(inner);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
