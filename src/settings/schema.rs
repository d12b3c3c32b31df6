//! One JSON Schema for the chassis's settings and the service's own.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::Section;
use super::names::Catalog;
use super::shape::{Kind, Shape, Table};

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
    /// Sections that both have.
    pub(super) collisions: Vec<String>,
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
                collisions.push(key.clone());
            }
        }
        all.required.extend(table.required.iter().cloned());
        all.rest = all.rest.take().or_else(|| table.rest.clone());
    }
    Shapes {
        catalog: Catalog::new(Shape::new(Kind::Table(all))),
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
    let mut chassis = generator.subschema_for::<A>().to_value();
    let mut service = generator.subschema_for::<B>().to_value();
    spread_defaults(&mut chassis, None);
    spread_defaults(&mut service, None);
    let definitions = generator.take_definitions(true);
    (chassis, service, definitions)
}

/// Says each default at its own key. A section's default, which may differ from those of its own
/// struct, then holds for each key by itself; secrets have none to show.
fn spread_defaults(schema: &mut Json, default: Option<Json>) {
    let Json::Object(schema) = schema else { return };
    let default = default.or_else(|| schema.get("default").cloned());
    let tagged = schema.contains_key("oneOf") || schema.contains_key("anyOf");
    if schema.get("writeOnly") == Some(&Json::Bool(true)) {
        schema.remove("default");
    } else if let (Some(Json::Object(properties)), false) = (schema.get_mut("properties"), tagged) {
        for (key, property) in properties {
            spread_defaults(
                property,
                default
                    .as_ref()
                    .and_then(|default| default.get(key))
                    .cloned(),
            );
        }
        schema.remove("default");
        if let (Some(Json::Object(default)), Some(Json::Array(required))) =
            (default, schema.get_mut("required"))
        {
            required.retain(|key| key.as_str().is_none_or(|key| !default.contains_key(key)));
        }
    } else if let Some(default) = default {
        schema.insert("default".into(), default);
    }
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
