//! Builds the settings structs, and collects all errors: missing keys, serde's errors, and failed validation. `config`
//! would stop at the first error.

use config::{Value, ValueKind};
use serde_json::{Map, Value as Json, to_value};
use serde_path_to_error::Segment;

use crate::SettingsSchema;
use crate::check::{invalid, shown};
use crate::defaults::Defaults;
use crate::fault::{Findings, ValidationErrors};
use crate::layer::{self, Values, holds_secrets, is_private, origin_of, sorted};
use crate::names::{below, flag, variable_for};
use crate::shape::Shape;

/// The origin of a required key that no layer sets.
const NOT_SET: &str = "not set";
/// The maximum number of repairs, which is more than any settings need. It ends a search that makes no progress.
const MAX_REPAIRS: usize = 200;

/// serde's error, with the path of the value that it is about.
type Unread = serde_path_to_error::Error<serde_json::Error>;

/// Reports required keys that no layer sets. Missing sections are created, because all their keys may have defaults.
pub(crate) fn require(value: &mut Value, shape: &Shape, path: &[String], findings: &mut Findings) {
    let holder = origin_of(value, &[]).to_owned();
    match (&mut value.kind, shape.table(), shape.list()) {
        (ValueKind::Array(items), _, Some(list)) => {
            for (at, item) in items.iter_mut().enumerate() {
                require(item, list.get(at), &below(path, at), findings);
            }
        }
        (ValueKind::Table(values), Some(table), _) => {
            for (key, shape) in &table.keys {
                if values.contains_key(key) || !table.required.contains(key) {
                    continue;
                }
                if shape.section().is_some() && !shape.optional {
                    values.insert(key.clone(), Values::new().into());
                } else {
                    missing(&below(path, key), &holder, Some(shape), findings);
                }
            }
            let keys = sorted(values).into_iter().map(|(key, _)| key.clone());
            for key in keys.collect::<Vec<_>>() {
                if let (Some(shape), Some(value)) = (table.get(&key), values.get_mut(&key)) {
                    require(value, shape, &below(path, &key), findings);
                }
            }
        }
        _ => {}
    }
}

/// Reports a missing key. `holder` is the origin of the table that lacks the key.
fn missing(path: &[String], holder: &str, shape: Option<&Shape>, findings: &mut Findings) {
    if findings.unread || findings.is_spoilt(path) {
        return;
    }
    let expected = shape.map_or("a value".into(), Shape::expected);
    let message = format!("missing required setting, expected {expected}");
    if path.iter().any(|key| key.parse::<usize>().is_ok()) {
        findings.spoil(path, holder, message);
    } else {
        let variable = variable_for(path);
        let message = format!("{message}, for example in the environment variable {variable}");
        findings.spoil(path, NOT_SET, message);
    }
}

/// Builds one of the two structs from its own keys. A value that serde rejects is reported and replaced, so that serde
/// can find the next error.
pub(crate) fn build<T: SettingsSchema>(
    merged: &Value,
    json: &Json,
    shape: &Shape,
    findings: &mut Findings,
) -> Option<(T, Defaults)> {
    let (Some(table), Json::Object(values)) = (shape.table(), json) else {
        // The unit struct of a service without settings.
        let unit = deserialize(&Json::Null).ok()?;
        return Some((unit, Defaults::default()));
    };
    let mut values = values.clone();
    values.retain(|key, _| table.get(key).is_some());
    let sound = findings.are_sound(values.keys().chain(table.keys.keys()));
    let mut json = Json::Object(values);

    for repairs in 0..MAX_REPAIRS {
        let error = match deserialize::<T>(&json) {
            Ok(mut built) => {
                let mut defaults = Defaults::default();
                if sound && repairs == 0 {
                    if let Ok(printed) = to_value(&built) {
                        let written = Written {
                            json: &json,
                            merged,
                        };
                        written.find_unread::<T>(&json, &printed, &[], shape, findings);
                    }
                    built.complete(&mut defaults);
                    validate(&built, merged, findings);
                }
                return Some((built, defaults));
            }
            Err(error) => error,
        };
        let mut path = path_of(&error);
        let message = error.inner().to_string();
        if let Some(key) = missing_field(&message) {
            // If the variant may be the wrong one, none of its keys is reported as missing.
            let table = shape.at(&path).and_then(Shape::table);
            let guessed = table.is_some_and(|table| !table.enums.is_empty());
            let doubtful = guessed && findings.is_spoilt(&path);
            let holder = origin_of(merged, &path);
            path.push(key.to_owned());
            if !doubtful {
                missing(&path, holder, shape.at(&path), findings);
            }
        } else if !findings.is_spoilt(&path) {
            refuse(&path, merged, shape, &message, findings);
        }
        if !repair(&mut json, &path, shape) {
            break;
        }
    }
    None
}

/// Reads a struct. Everything reads structs with this function, because serde generates the code of all structs once more
/// for each type of deserializer.
fn deserialize<T: SettingsSchema>(json: &Json) -> Result<T, Unread> {
    serde_path_to_error::deserialize(json)
}

fn path_of(error: &Unread) -> Vec<String> {
    let segments = error.path().iter();
    let keys = segments.filter_map(|segment| match segment {
        Segment::Map { key } | Segment::Enum { variant: key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Unknown => None,
    });
    keys.collect()
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// Reports serde's error, unless it may quote a secret.
fn refuse(path: &[String], merged: &Value, shape: &Shape, message: &str, findings: &mut Findings) {
    let origin = origin_of(merged, path);
    let written = layer::get(merged, path);
    let secret = written.is_some_and(holds_secrets) || shape.hides(path);
    let quoted = written.is_some_and(|value| is_private(value) && is_quoted(value, message));
    let found = written.map_or("(none)".to_owned(), |value| shown(value, secret));
    let expected = message.rsplit_once(", expected ").filter(|_| !secret);
    let expected = expected.map(|(_, expected)| expected);
    let problem = match expected.or(address_form(message)) {
        Some(expected) => invalid(&found, expected),
        None if secret || quoted => format!("invalid value {found}"),
        None => format!("invalid value {found}: {message}"),
    };
    findings.spoil(path, origin, problem);
}

/// The expected form of a network address, for the message of the standard library, which has none.
fn address_form(message: &str) -> Option<&'static str> {
    Some(match message {
        "invalid IP address syntax" => "an IP address such as \"127.0.0.1\" or \"::1\"",
        "invalid IPv4 address syntax" => "an IPv4 address such as \"127.0.0.1\"",
        "invalid IPv6 address syntax" => "an IPv6 address such as \"::1\"",
        "invalid socket address syntax" => "an address and a port such as \"127.0.0.1:8080\"",
        _ => return None,
    })
}

/// Whether a message contains a word of the value.
fn is_quoted(value: &Value, message: &str) -> bool {
    let text = layer::to_json(value).map_or(String::new(), |json| json.to_string());
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    words.any(|word| word.len() > 2 && message.contains(word))
}

/// Removes a rejected value, or replaces it with one that may be accepted.
fn repair(json: &mut Json, path: &[String], shape: &Shape) -> bool {
    let Some((key, parent)) = path.split_last() else {
        return false;
    };
    let section = shape.at(parent).and_then(Shape::section);
    let required = section.is_some_and(|table| table.required.contains(key));
    let escaped = |key: &String| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let pointer: String = parent.iter().map(escaped).collect();
    match json.pointer_mut(&pointer) {
        Some(Json::Object(table)) if required || !table.contains_key(key) => {
            let value = shape.at(path).map_or(Json::Null, Shape::placeholder);
            table.insert(key.clone(), value.clone()) != Some(value)
        }
        Some(Json::Object(table)) => table.remove(key).is_some(),
        Some(list @ Json::Array(_)) => {
            *list = Json::Array(Vec::new());
            true
        }
        _ => false,
    }
}

/// Whether serde accepts a word that the schema does not list: an `alias`, which schemars does not read. `false` if
/// serde accepts any word.
pub(crate) fn takes<T: SettingsSchema>(path: &[String], word: &str, shape: &Shape) -> bool {
    let refuses = |word: &str| {
        let nested = path.iter().enumerate().rev();
        let json = nested.fold(Json::from(word), |inner, (at, key)| {
            let holder = shape.at(&path[..at]).and_then(Shape::list);
            match holder.filter(|_| key.parse::<usize>().is_ok()) {
                Some(_) => Json::from(vec![inner]),
                None => Json::from(Map::from_iter([(key.clone(), inner)])),
            }
        });
        // The JSON lacks other keys, but that does not matter here.
        let error = deserialize::<T>(&json).err();
        error.is_some_and(|error| error.inner().to_string().starts_with("unknown variant"))
    };
    refuses("\0") && !refuses(word)
}

/// The input of a struct.
struct Written<'a> {
    json: &'a Json,
    merged: &'a Value,
}

impl Written<'_> {
    /// Reports values that serde ignores: a part of a flattened optional section, or a key of another variant. The
    /// struct does not print such a value, and accepts nonsense in its place.
    fn find_unread<T: SettingsSchema>(
        &self,
        written: &Json,
        printed: &Json,
        path: &[String],
        shape: &Shape,
        findings: &mut Findings,
    ) {
        let (Json::Object(written), Json::Object(printed), Some(table)) =
            (written, printed, shape.table())
        else {
            return;
        };
        for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
            let Some(shape) = table.keys.get(key) else {
                continue;
            };
            let path = below(path, key);
            if let Some(printed) = printed.get(key) {
                self.find_unread::<T>(value, printed, &path, shape, findings);
            } else if self.is_unread::<T>(&path, value) {
                let message = "has no effect: other keys of its section are missing, or those of another variant are set";
                findings.spoil(&path, origin_of(self.merged, &path), message);
            }
        }
    }

    /// Whether the struct accepts nonsense in place of this value.
    fn is_unread<T: SettingsSchema>(&self, path: &[String], value: &Json) -> bool {
        let mut json = self.json.clone();
        let place = path
            .iter()
            .try_fold(&mut json, |json, key| json.get_mut(key));
        let Some(place) = place else { return false };
        *place = match value {
            Json::Object(_) | Json::Array(_) => "\0".into(),
            _ => Json::Array(vec![Json::Array(Vec::new())]),
        };
        deserialize::<T>(&json).is_ok()
    }
}

fn validate<T: SettingsSchema>(built: &T, merged: &Value, findings: &mut Findings) {
    let mut errors = ValidationErrors::default();
    built.validate(&mut errors);
    for (key, message) in errors.0 {
        let path = flag(&key);
        findings.note(&path, origin_of(merged, &path), message);
    }
}

/// Both structs, serialized into one table.
pub(crate) fn print(
    framework: &impl SettingsSchema,
    service: &impl SettingsSchema,
) -> serde_json::Result<Json> {
    let mut all = Map::new();
    for printed in [to_value(framework)?, to_value(service)?] {
        // One of them may be the unit struct.
        if let Json::Object(keys) = printed {
            all.extend(keys);
        }
    }
    Ok(all.into())
}
