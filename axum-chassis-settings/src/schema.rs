//! The JSON Schema of the chassis's settings together with the service's own.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, json_schema};
use serde_json::{Map, Value as Json};

use crate::shape::Shape;
use crate::{SettingsSchema, from_schema};

/// The JSON Schema of all settings: doc comments as descriptions, defaults, secrets as `writeOnly`. `x-undeclared-secrets`
/// lists the keys that have the name of a secret and are not declared as one.
pub fn schema<A: SettingsSchema, B: SettingsSchema>() -> Json {
    let (mut halves, definitions) = halves::<A, B>();
    let mut schema = json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings",
        "type": "object",
    });
    let mut properties = Map::new();
    let mut required = Vec::new();
    for half in &mut halves {
        spread_defaults(half, None, &definitions);
        properties.extend(half["properties"].as_object().cloned().unwrap_or_default());
        required.extend(half["required"].as_array().cloned().unwrap_or_default());
    }
    schema.insert("properties".into(), properties.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    if !definitions.is_empty() {
        schema.insert("$defs".into(), definitions.into());
    }
    let undeclared = shapes::<A, B>().all.undeclared_secrets();
    if !undeclared.is_empty() {
        schema.insert("x-undeclared-secrets".into(), undeclared.into());
    }
    RecursiveTransform(close).transform(&mut schema);
    schema.to_value()
}

/// The shapes of the two structs: together, and each by itself.
pub(crate) struct Shapes {
    pub(crate) all: Shape,
    pub(crate) framework: Shape,
    pub(crate) service: Shape,
}

pub(crate) fn shapes<A: SettingsSchema, B: SettingsSchema>() -> Shapes {
    let (halves, definitions) = halves::<A, B>();
    let [framework, service] = halves.map(|half| from_schema::shape(&half, &definitions));
    Shapes {
        all: from_schema::both(framework.clone(), service.clone()),
        framework,
        service,
    }
}

fn halves<A: SettingsSchema, B: SettingsSchema>() -> ([Json; 2], Map<String, Json>) {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let framework = generator.subschema_for::<A>().to_value();
    let service = generator.subschema_for::<B>().to_value();
    ([framework, service], generator.take_definitions(true))
}

/// Moves each default to its own key, where editors look for it. A section's default may differ from the defaults of
/// its struct, so it is moved to the section's keys as well. This excludes sections that contain secrets: serde uses
/// their default only as a whole (see [`Shape::defaults`]). Secrets have no default to show.
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

/// Unknown keys are errors, so editors should mark them too.
fn close(schema: &mut Schema) {
    let has = |key: &&str| schema.get(*key).is_some();
    let told = ["oneOf", "anyOf", "additionalProperties"];
    if has(&"properties") && !told.iter().any(has) {
        schema.insert("additionalProperties".into(), false.into());
    }
}
