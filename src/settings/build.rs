//! From what was written to the structs: what is missing, what serde refuses, what the structs'
//! own rules refuse.

use serde_json::{Map, Value as Json};

use super::Section;
use super::check::shown;
use super::fault::{Fault, Problems};
use super::names::variable_for;
use super::shape::{Kind, Shape};
use super::tree::{Node, Origin, Value, dotted};

/// More repairs than any settings need; it ends a search that makes no headway.
const MAX_REPAIRS: usize = 200;

/// Reports required keys that no layer sets. Tables that are missing are made, since their own
/// keys may all have defaults.
pub(super) fn require(
    node: &mut Node,
    shape: &Shape,
    path: &mut Vec<String>,
    faults: &mut Vec<Fault>,
) {
    let (Value::Table(values), Kind::Table(table)) = (&mut node.value, &shape.kind) else {
        return;
    };
    for key in &table.required {
        let Some(shape) = table.keys.get(key) else {
            continue;
        };
        if values.contains_key(key) {
            continue;
        }
        path.push(key.clone());
        if matches!(shape.kind, Kind::Table(_)) && !shape.optional {
            values.insert(key.clone(), Node::table(Origin::Default));
        } else if !faults.iter().any(|fault| fault.key == dotted(path)) {
            let message = format!(
                "required, expected {}, for example in {}",
                shape.expected(),
                variable_for(path)
            );
            faults.push(Fault::new(dotted(path), &Origin::Nowhere, message));
        }
        path.pop();
    }
    for (key, node) in values {
        if let Some(shape) = table.get(key) {
            path.push(key.clone());
            require(node, shape, path, faults);
            path.pop();
        }
    }
}

/// One of the two structs, from those of the keys that are its own.
pub(super) fn build<T: Section>(tree: &Node, shape: &Shape, faults: &mut Vec<Fault>) -> Option<T> {
    let Kind::Table(table) = &shape.kind else {
        // The unit struct of a service without settings.
        return serde_json::from_value(Json::Null).ok();
    };
    let Json::Object(mut all) = tree.to_json() else {
        return None;
    };
    all.retain(|key, _| table.get(key).is_some());
    let mut json = Json::Object(all);
    let before = faults.len();
    let own = |fault: &Fault| {
        !fault.message.starts_with("no such") && {
            let first = fault.key.split('.').next().unwrap_or_default();
            table.get(first).is_some()
        }
    };
    let mut sound = !faults.iter().any(own);

    for _ in 0..MAX_REPAIRS {
        let error = match serde_path_to_error::deserialize::<_, T>(json.clone()) {
            Ok(built) => {
                if sound {
                    validate(&built, tree, faults);
                }
                return (faults.len() == before || !sound).then_some(built);
            }
            Err(error) => error,
        };
        sound = false;
        let path: Vec<String> = error
            .path()
            .iter()
            .map(|segment| segment.to_string())
            .collect();
        if let Some(missing) = missing_field(&error.inner().to_string()) {
            // Reported already, or out of the schema's sight.
            let mut path = path.clone();
            path.push(missing.to_owned());
            if !known(faults, &path) {
                let message = format!("required, for example in {}", variable_for(&path));
                faults.push(Fault::new(dotted(&path), &Origin::Nowhere, message));
            }
            let value = shape.at(&path).map_or(Json::Null, Shape::placeholder);
            if !put(&mut json, &path, value) {
                return None;
            }
            continue;
        }
        if known(faults, &path) {
            return None;
        }
        faults.push(refusal(
            &path,
            &json,
            tree,
            shape,
            &error.inner().to_string(),
        ));
        if !repair(&mut json, &path, shape) {
            return None;
        }
    }
    None
}

fn known(faults: &[Fault], path: &[String]) -> bool {
    let key = dotted(path);
    faults.iter().any(|fault| fault.key == key)
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// What serde said, unless it may quote a secret.
fn refusal(path: &[String], json: &Json, tree: &Node, shape: &Shape, message: &str) -> Fault {
    let origin = tree.origin_of(path);
    let here = shape.at(path);
    let secret = origin.is_secret() || here.is_some_and(Shape::holds_secrets);
    let pointer: String = path
        .iter()
        .map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")))
        .collect();
    let found = json.pointer(&pointer).map(|value| {
        shown(
            &Node::new(origin.clone(), Value::Scalar(value.clone())),
            secret,
        )
    });
    let found = found.unwrap_or_else(|| "nothing".into());
    let message = match message.rsplit_once(", expected ") {
        _ if secret => "not accepted".to_owned(),
        Some((_, expected)) => format!("expected {expected}"),
        None => one_line(message),
    };
    Fault::new(dotted(path), origin, format!("{message}, found {found}"))
}

fn one_line(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Takes the refused value out, or puts one in its place that may do.
fn repair(json: &mut Json, path: &[String], shape: &Shape) -> bool {
    let Some((key, parent)) = path.split_last() else {
        return false;
    };
    let required = shape.at(parent).is_some_and(|shape| match &shape.kind {
        Kind::Table(table) => table.required.contains(key),
        _ => false,
    });
    let Some(holder) = parent
        .iter()
        .try_fold(&mut *json, |value, key| step(value, key))
    else {
        return false;
    };
    match holder {
        Json::Object(table) if required => {
            let value = shape.at(path).map_or(Json::Null, Shape::placeholder);
            table.insert(key.clone(), value).is_some()
        }
        Json::Object(table) => table.remove(key).is_some(),
        Json::Array(items) => match key.parse::<usize>() {
            Ok(at) if at < items.len() => {
                items.remove(at);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn put(json: &mut Json, path: &[String], value: Json) -> bool {
    let Some((key, parent)) = path.split_last() else {
        return false;
    };
    match parent.iter().try_fold(json, |value, key| step(value, key)) {
        Some(Json::Object(table)) => table.insert(key.clone(), value).is_none(),
        _ => false,
    }
}

fn step<'j>(value: &'j mut Json, key: &str) -> Option<&'j mut Json> {
    match value {
        Json::Object(table) => table.get_mut(key),
        Json::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn validate<T: Section>(built: &T, tree: &Node, faults: &mut Vec<Fault>) {
    let mut problems = Problems::default();
    built.validate(&mut problems);
    for (key, message) in problems.0 {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        faults.push(Fault::new(key, tree.origin_of(&path), message));
    }
}

/// Both structs as they print themselves, in one table.
pub(super) fn printed<A: Section, B: Section>(
    chassis: &A,
    service: &B,
) -> Result<Json, serde_json::Error> {
    let mut all = Map::new();
    for half in [
        serde_json::to_value(chassis)?,
        serde_json::to_value(service)?,
    ] {
        if let Json::Object(half) = half {
            all.extend(half);
        }
    }
    Ok(Json::Object(all))
}
