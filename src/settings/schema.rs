//! One JSON Schema for the chassis's settings and the service's own: what `config` leaves open.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::names::Catalog;
use super::shape::{Kind, Shape, Table};
use super::{Section, from_schema};

/// The JSON Schema of all settings: doc comments as descriptions, defaults, secrets as `writeOnly`.
pub fn schema<A: Section, B: Section>() -> Json {
    let (mut chassis, mut service, definitions) = halves::<A, B>();
    for half in [&mut chassis, &mut service] {
        spread_defaults(half, None, &definitions);
    }
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
    let chassis = from_schema::shape(&chassis, &definitions);
    let service = from_schema::shape(&service, &definitions);
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
        all.old_names.extend(table.old_names.clone());
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
    let chassis = generator.subschema_for::<A>().to_value();
    let service = generator.subschema_for::<B>().to_value();
    let definitions = generator.take_definitions(true);
    (chassis, service, definitions)
}

/// Says each default at its own key, where editors look. A section's own default, which may differ
/// from those of its struct, goes to its keys as well, unless it holds secrets: then it is all or
/// nothing, as [`Shape::defaults`] has it. Secrets have no default to show.
fn spread_defaults(schema: &mut Json, from_holder: Option<Json>, definitions: &Map<String, Json>) {
    let shape = from_schema::shape(schema, definitions);
    let Json::Object(schema) = schema else { return };
    let default = from_holder.or_else(|| schema.remove("default"));
    let Some(Json::Object(properties)) = schema.get_mut("properties") else {
        if !shape.holds_secrets() {
            schema.extend(default.map(|default| ("default".to_owned(), default)));
        }
        return;
    };
    let default = default.filter(|_| !shape.holds_secrets());
    for (key, property) in properties {
        let default = default.as_ref().and_then(|default| default.get(key));
        spread_defaults(property, default.cloned(), definitions);
    }
    if let (Some(Json::Object(default)), Some(Json::Array(required))) =
        (default, schema.get_mut("required"))
    {
        required.retain(|key| key.as_str().is_none_or(|key| !default.contains_key(key)));
    }
}

/// Unknown keys are errors, so editors should say so too.
fn close(schema: &mut Json) {
    match schema {
        Json::Object(table) => {
            let variants = ["oneOf", "anyOf"]
                .iter()
                .any(|key| table.contains_key(*key));
            if table.contains_key("properties") && !variants {
                let more = table.entry("additionalProperties");
                more.or_insert(Json::Bool(false));
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
