//! Layered settings that cannot be wrong silently.
//!
//! Later layers win:
//! 1. the defaults of the structs
//! 2. `config/default.toml`
//! 3. `config/{RUN_ENV}.toml`; `RUN_ENV` is `dev` unless it is set, and the file may be missing
//! 4. sources that a service adds, with [`Service::source`](crate::Service::source)
//! 5. secret files, each file of `/var/secrets`
//! 6. `PORT`, `RUST_LOG`, `LOG_FORMAT`, `DATABASE_URL`, `REDIS_URL`
//! 7. variables such as `APP__SERVER__PORT`
//! 8. `--set server.port=8081`
//!
//! `APP_CONFIG_DIR` and `APP_SECRETS_DIR` name other directories. How names and values are
//! written is shown by example in `tests/settings/names.rs`, and what is said of wrong ones in
//! `tests/settings/wrong.txt`.
//!
//! - Whatever no struct knows is an error, and so is a wrong value that a later layer sets right:
//!   [`Invalid`] lists everything at once, each with its origin.
//! - [`Secret`]s, whatever stood in a secret file, values whose key has the name of a secret (`api_key`), the userinfo
//!   of URLs, and what follows `password=` within a text, are never shown. A schema with `"writeOnly": false` shows a key in spite of its name.
//! - An empty string unsets an optional key. Text becomes the type of its key; lists are `a,b`. Lists and tables may be
//!   written as TOML or JSON.
//! - A later layer that chooses another variant of an enum replaces the values of the one before.
//! - The files are TOML only: one format is enough, and this one tells the line of every key. Others
//!   are sources to add.
//! - A renamed key keeps its old name, if its schema lists it beside serde's `alias`:
//!   `#[schemars(extend("x-aliases" = ["patience"]))]`. It is told that it is old.
//!
//! The `config` crate has the values, their origins, the sources and the merge. What stands above it is
//! what it leaves to its users: all faults at once, each with its place, types by the schema, secrets.
//!
//! The JSON Schema of the structs is where all of this comes from, and [`schema()`] prints it.
//!
//! ```
//! use axum_chassis::schemars::{self, JsonSchema};
//! use axum_chassis::settings::{Duration, Problems, Sources, Validate};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Settings {
//!     orders: Orders,
//! }
//!
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Orders {
//!     /// How long an order may take.
//!     patience: Duration,
//! }
//!
//! impl Default for Orders {
//!     fn default() -> Self {
//!         Self { patience: Duration::from_secs(30) }
//!     }
//! }
//!
//! impl Validate for Settings {
//!     fn validate(&self, problems: &mut Problems) {
//!         if self.orders.patience.is_zero() {
//!             problems.add("orders.patience", "must be longer than nothing");
//!         }
//!     }
//! }
//!
//! let sources = Sources::empty().with_var("APP__ORDERS__PATIENCE", "1m");
//! let loaded = axum_chassis::settings::load::<(), Settings>(&sources)?;
//! assert_eq!(loaded.service.orders.patience.as_secs(), 60);
//!
//! let sources = Sources::empty().with_var("APP__ORDERS__PATENCE", "1m");
//! let invalid = axum_chassis::settings::load::<(), Settings>(&sources).unwrap_err();
//! assert_eq!(
//!     invalid.to_string(),
//!     "orders.patence: no such setting (variable APP__ORDERS__PATENCE); did you mean `orders.patience`?"
//! );
//! # Ok::<(), axum_chassis::settings::Invalid>(())
//! ```

mod added;
mod build;
mod check;
mod effective;
mod fault;
mod files;
mod from_schema;
mod layer;
mod looks;
mod names;
mod reload;
mod schema;
mod secret;
mod shape;
mod sources;
mod toml_file;
mod units;
mod variants;

use std::slice;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::network::{InvalidNetwork, Network};
pub use effective::Effective;
pub use fault::{Fault, Invalid, Problems};
pub use reload::{Watcher, watch};
pub use schema::schema;
pub use secret::Secret;
pub use sources::Sources;
pub use units::{Duration, InvalidUnit, Size};

use check::Checker;
use config::{ConfigError, Value};
use fault::Findings;
use files::Files;
use layer::merge;
use schema::Shapes;
use shape::Shape;

/// Rules between keys, which types cannot state.
pub trait Validate {
    /// Adds what is wrong to `problems`. Called only when every value by itself is right.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }
}

impl Validate for () {}

/// A struct of settings. Its JSON Schema must be true: it decides which keys there are, which are
/// secret, and how text becomes a value.
pub trait Section:
    Serialize + DeserializeOwned + JsonSchema + Validate + Clone + Send + Sync + 'static
{
}

impl<T: Serialize + DeserializeOwned + JsonSchema + Validate + Clone + Send + Sync + 'static>
    Section for T
{
}

/// Settings that are complete and right.
#[derive(Clone, Debug)]
pub struct Loaded<A, B> {
    /// The chassis's own.
    pub chassis: A,
    /// The service's own.
    pub service: B,
    /// Both, fit to be shown, with the origin of each key.
    pub effective: Effective,
}

/// Loads two structs that share one namespace of keys, or says all that is wrong.
///
/// # Errors
///
/// Anything unknown, malformed, out of range, missing or against the structs' own rules, in any
/// layer, even where a later layer sets the same key.
pub fn load<A: Section, B: Section>(sources: &Sources) -> Result<Loaded<A, B>, Invalid> {
    load_files(sources, &sources.read())
}

fn load_files<A: Section, B: Section>(
    sources: &Sources,
    files: &Files,
) -> Result<Loaded<A, B>, Invalid> {
    let shapes = schema::shapes::<A, B>();
    let takes = |path: &[String], word: &str| match shapes.chassis.table().zip(path.first()) {
        Some((table, key)) if table.get(key).is_some() => {
            build::takes::<A>(path, word, &shapes.all)
        }
        _ => build::takes::<B>(path, word, &shapes.all),
    };
    let mut checker = Checker::new(&shapes.all, &takes);
    let service_struct = format!("struct {}", std::any::type_name::<B>());
    let [chassis, service] = [&shapes.chassis, &shapes.service].map(Shape::table);
    for (key, _) in chassis.into_iter().flat_map(|table| &table.keys) {
        if service.is_some_and(|table| table.keys.contains_key(key)) {
            let message = "the chassis has a section of this name already";
            checker
                .findings
                .spoil(slice::from_ref(key), &service_struct, message);
        }
    }
    sources.check(files, &mut checker);
    let Checker {
        layers,
        mut findings,
        ..
    } = checker;
    let settled = settle(layers, &shapes, &mut findings).unwrap_or_else(|error| {
        findings.note(&[], &service_struct, error.to_string());
        None
    });
    settled.ok_or_else(|| findings.finish(&service_struct))
}

/// Merges the layers and reads the structs from them; `None` if anything is wrong, now or before.
fn settle<A: Section, B: Section>(
    layers: Vec<Vec<Value>>,
    shapes: &Shapes,
    findings: &mut Findings,
) -> Result<Option<Loaded<A, B>>, ConfigError> {
    let mut merged = merge(Vec::new())?;
    for parts in layers {
        let layer = merge(parts)?;
        variants::displace(&mut merged, &layer, &shapes.all);
        merged = merge(vec![merged, layer])?;
    }
    build::require(&mut merged, &shapes.all, &[], findings);
    let json = layer::to_json(&merged)?;
    let chassis = build::build::<A>(&merged, &json, &shapes.chassis, findings);
    let service = build::build::<B>(&merged, &json, &shapes.service, findings);
    let (Some(chassis), Some(service), true) = (chassis, service, findings.faults.is_empty())
    else {
        return Ok(None);
    };
    let printed = build::print(&chassis, &service)
        .map_err(|error| ConfigError::Message(format!("cannot be printed: {error}")))?;
    let warnings = std::mem::take(&mut findings.warnings);
    let mut effective = Effective::new(&printed, &merged, &shapes.all, warnings);
    // For those who write the structs.
    if cfg!(debug_assertions) {
        effective.warn_of_undeclared_secrets(&shapes.all);
    }
    Ok(Some(Loaded {
        chassis,
        service,
        effective,
    }))
}
