//! Layered configuration, validated before anything starts.
//!
//! Later layers win:
//! 1. the defaults of the structs
//! 2. `config/default.toml`
//! 3. `config/{RUN_ENV}.toml`; `RUN_ENV` is `dev` unless it is set, and the file may be missing
//! 4. sources that a program adds, with [`Sources::source`]
//! 5. secret files, each file of `/var/secrets`
//! 6. `PORT`, `RUST_LOG`, `LOG_FORMAT`, `DATABASE_URL`, `REDIS_URL`
//! 7. variables such as `APP__SERVER__PORT`
//! 8. `--set server.port=8081`
//!
//! `APP_CONFIG_DIR` and `APP_SECRETS_DIR` name other directories. In the repository, `tests/settings/names.rs` has
//! examples of names and values, and `tests/settings/wrong.txt` has the error messages.
//!
//! - An unknown key is an error, and so is an invalid value that a later layer overrides: [`Invalid`] lists all errors
//!   at once, each with its origin.
//! - [`Secret`]s, values from secret files, values whose key has the name of a secret (`api_key`), the userinfo of
//!   URLs, and what follows `password=` within a text are never shown. If the schema of a key has `"writeOnly": false`,
//!   its value is shown in spite of its name.
//! - An empty string unsets an optional key. Text becomes the type of its key; lists are `a,b`. Lists and tables may be
//!   written as TOML or JSON.
//! - If a later layer chooses another variant of an enum, the values of the earlier variant are dropped.
//! - The files are TOML only: one format is enough, and its parser returns the line of every key. To read another
//!   format, add a source.
//! - A renamed key keeps its old name if, in addition to serde's `alias`, its schema lists the old name:
//!   `#[schemars(extend("x-aliases" = ["patience"]))]`. Using the old name logs a deprecation warning.
//!
//! The `config` crate provides the values, their origins, the sources and the merge. This crate adds
//! the rest: all errors at once, each with its place, types from the schema, and secrets.
//!
//! All of this derives from the structs' JSON Schema, which [`schema()`] returns.
//!
//! ```
//! use axum_chassis_settings::schemars::{self, JsonSchema};
//! use axum_chassis_settings::{Duration, ValidationErrors, Sources, Validate};
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
//!     /// Timeout of an order.
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
//!     fn validate(&self, errors: &mut ValidationErrors) {
//!         if self.orders.patience.is_zero() {
//!             errors.add("orders.patience", "must be longer than nothing");
//!         }
//!     }
//! }
//!
//! let sources = Sources::empty().with_var("APP__ORDERS__PATIENCE", "1m");
//! let loaded = axum_chassis_settings::load::<(), Settings>(&sources)?;
//! assert_eq!(loaded.service.orders.patience.as_secs(), 60);
//!
//! let sources = Sources::empty().with_var("APP__ORDERS__PATENCE", "1m");
//! let invalid = axum_chassis_settings::load::<(), Settings>(&sources).unwrap_err();
//! assert_eq!(
//!     invalid.to_string(),
//!     "orders.patence: unknown setting (environment variable APP__ORDERS__PATENCE); did you mean `orders.patience`?"
//! );
//! # Ok::<(), axum_chassis_settings::Invalid>(())
//! ```

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod added;
mod build;
mod check;
mod defaults;
mod effective;
mod fault;
mod files;
mod from_schema;
mod layer;
mod names;
mod network;
mod redact;
mod redaction;
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

pub use config;
pub use defaults::Defaults;
pub use effective::Effective;
pub use fault::{Fault, Invalid, ValidationErrors};
pub use network::{InvalidNetwork, Network};
pub use redact::redact_secrets;
pub use reload::{Watcher, watch};
pub use schema::schema;
pub use schemars;
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

/// Rules between keys, which types cannot express.
pub trait Validate {
    /// Fills in values that depend on other keys or on the machine, before they are validated and shown. The reason that it
    /// adds to `defaults` is shown as the origin of the key. Called only when every value by itself is valid.
    ///
    /// ```
    /// use axum_chassis_settings::{Defaults, Validate};
    ///
    /// struct Settings {
    ///     /// Unset, one for each processor.
    ///     workers: Option<usize>,
    /// }
    ///
    /// impl Validate for Settings {
    ///     fn complete(&mut self, defaults: &mut Defaults) {
    ///         if self.workers.is_none() {
    ///             self.workers = Some(std::thread::available_parallelism().map_or(1, usize::from));
    ///             defaults.add("workers", "one for each processor");
    ///         }
    ///     }
    /// }
    /// ```
    fn complete(&mut self, defaults: &mut Defaults) {
        let _ = defaults;
    }

    /// Adds errors to `errors`. Called only when every value by itself is valid.
    fn validate(&self, errors: &mut ValidationErrors) {
        let _ = errors;
    }
}

impl Validate for () {}

/// A struct of settings. Its JSON Schema must match its serde implementation, because the schema decides which keys
/// exist, which of them are secret, and how text is converted to a value.
pub trait SettingsSchema:
    Serialize + DeserializeOwned + JsonSchema + Validate + Clone + Send + Sync + 'static
{
}

impl<T: Serialize + DeserializeOwned + JsonSchema + Validate + Clone + Send + Sync + 'static>
    SettingsSchema for T
{
}

/// Settings that are complete and valid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded<A, B> {
    /// The settings of the framework that the service is built on, or `()`.
    pub framework: A,
    /// The settings of the service itself.
    pub service: B,
    /// Both in redacted form, to be shown, with the origin of each key.
    pub effective: Effective,
}

/// Loads two structs that share one namespace of keys, or returns all errors.
///
/// # Errors
///
/// If anything is unknown, malformed, out of range, missing, or against the structs' own rules. This applies to every
/// layer, even if a later layer sets the same key.
pub fn load<A: SettingsSchema, B: SettingsSchema>(
    sources: &Sources,
) -> Result<Loaded<A, B>, Invalid> {
    load_files(sources, &sources.read())
}

fn load_files<A: SettingsSchema, B: SettingsSchema>(
    sources: &Sources,
    files: &Files,
) -> Result<Loaded<A, B>, Invalid> {
    let shapes = schema::shapes::<A, B>();
    let takes = |path: &[String], word: &str| match shapes.framework.table().zip(path.first()) {
        Some((table, key)) if table.get(key).is_some() => {
            build::takes::<A>(path, word, &shapes.all)
        }
        _ => build::takes::<B>(path, word, &shapes.all),
    };
    let mut checker = Checker::new(&shapes.all, &takes);
    let service_struct = format!("struct {}", std::any::type_name::<B>());
    let [framework, service] = [&shapes.framework, &shapes.service].map(Shape::table);
    for (key, _) in framework.into_iter().flat_map(|table| &table.keys) {
        if service.is_some_and(|table| table.keys.contains_key(key)) {
            let framework = std::any::type_name::<A>();
            let message =
                format!("reserved section name: `{framework}` has a section of this name");
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

/// Merges the layers and reads the structs from them. `None` if there are errors, from this step or from earlier ones.
fn settle<A: SettingsSchema, B: SettingsSchema>(
    layers: Vec<Vec<Value>>,
    shapes: &Shapes,
    findings: &mut Findings,
) -> Result<Option<Loaded<A, B>>, ConfigError> {
    let mut layers = layers.into_iter().filter(|parts| !parts.is_empty());
    let mut merged = merge(layers.next().unwrap_or_default())?;
    for parts in layers {
        let layer = merge(parts)?;
        variants::displace(&mut merged, &layer, &shapes.all);
        merged = merge(vec![merged, layer])?;
    }
    build::require(&mut merged, &shapes.all, &[], findings);
    let json = layer::to_json(&merged)?;
    let framework = build::build::<A>(&merged, &json, &shapes.framework, findings);
    let service = build::build::<B>(&merged, &json, &shapes.service, findings);
    let (Some((framework, mut defaults)), Some((service, more)), true) =
        (framework, service, findings.faults.is_empty())
    else {
        return Ok(None);
    };
    defaults.0.extend(more.0);
    let printed = build::print(&framework, &service)
        .map_err(|error| ConfigError::Message(format!("cannot be printed: {error}")))?;
    let warnings = std::mem::take(&mut findings.warnings);
    let mut effective = Effective::new(&printed, &merged, &shapes.all, warnings);
    effective.explain(defaults);
    // For developers, not for operators.
    if cfg!(debug_assertions) {
        effective.warn_of_undeclared_secrets(&shapes.all);
    }
    Ok(Some(Loaded {
        framework,
        service,
        effective,
    }))
}
