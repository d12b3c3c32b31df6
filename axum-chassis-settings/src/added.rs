//! Sources that a service adds. They run on a thread of their own, once per load; `config` would call them at every
//! merge, on the thread of the caller.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::thread;

use config::{ConfigError, Source, Value, ValueKind};

use crate::fault::one_line;
use crate::layer::{Values, number, to_json};

#[derive(Clone)]
pub(crate) struct Added {
    name: String,
    source: Arc<dyn Source + Send + Sync>,
}

/// The output of a source.
pub(crate) struct SourceOutput {
    pub(crate) name: String,
    /// Values, all with origins, or the source's error.
    pub(crate) table: Result<Values, String>,
}

impl Added {
    pub(crate) fn new<S: Source + Send + Sync + 'static>(source: S) -> Self {
        let path = std::any::type_name::<S>();
        let path = path.split('<').next().unwrap_or(path);
        Self {
            name: format!("source {}", path.rsplit("::").next().unwrap_or(path)),
            source: Arc::new(source),
        }
    }

    /// Runs the source on a thread of its own. Clients that block refuse to do so within a runtime, and a panic in a
    /// source becomes an error of that source.
    pub(crate) fn ask(&self) -> SourceOutput {
        let ask = || self.source.collect().map_err(|error| problem(&error));
        let answer = thread::scope(|scope| {
            let thread = thread::Builder::new().name("settings-source".into());
            match thread.spawn_scoped(scope, ask) {
                Ok(asked) => asked.join().unwrap_or(Err("the source panicked".into())),
                Err(error) => Err(error.to_string()),
            }
        });
        let settle = |(key, value)| (key, settled(value, &self.name));
        SourceOutput {
            name: self.name.clone(),
            table: answer.map(|table| table.into_iter().map(settle).collect()),
        }
    }
}

impl Hash for SourceOutput {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let table = self.table.as_ref();
        let text = table.map(|table| to_json(&table.clone().into()).map(|json| json.to_string()));
        text.map(Result::ok).hash(state);
    }
}

/// Adds an origin to a value that has none, and converts it to the types from which structs are read.
pub(crate) fn settled(value: Value, holder: &str) -> Value {
    let origin = value.origin().map_or(holder.to_owned(), one_line);
    let kind = match value.kind {
        ValueKind::Table(table) => {
            let entry = |(key, value)| (key, settled(value, &origin));
            table.into_iter().map(entry).collect::<Values>().into()
        }
        ValueKind::Array(items) => {
            let item = |item| settled(item, &origin);
            items.into_iter().map(item).collect::<Vec<_>>().into()
        }
        ValueKind::Float(float) if !float.is_finite() => float.to_string().into(),
        ValueKind::I128(wide) => number(&wide.to_string(), 10),
        ValueKind::U128(wide) => number(&wide.to_string(), 10),
        kind => kind,
    };
    Value::new(Some(&origin), kind)
}

/// The error of a source without the input that it quotes, which may be a secret. Parsers quote the input after a
/// quotation mark, or in the lines after the first one.
fn problem(error: &ConfigError) -> String {
    let (cause, place) = match error {
        ConfigError::Type {
            expected, origin, ..
        } => (format!("expected {expected}"), origin),
        ConfigError::At { error, key, .. } => (problem(error), key),
        ConfigError::FileParse { cause, uri } => {
            let boxed = || cause.downcast_ref::<Box<ConfigError>>().map(Box::as_ref);
            match cause.downcast_ref().or_else(boxed) {
                Some(inner) => return problem(inner),
                None => (text_before(&cause.to_string(), '"'), uri),
            }
        }
        error => (error.to_string(), &None),
    };
    let line = text_before(&cause, '\n');
    match place {
        Some(place) => format!("{line} in {place}"),
        None => line,
    }
}

fn text_before(text: &str, at: char) -> String {
    match text.split_once(at) {
        Some((start, _)) => format!("{}...", start.trim_end()),
        None => text.to_owned(),
    }
}
