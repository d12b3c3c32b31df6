//! This service's own settings. The chassis' (`server`, `logs`, ...) stand beside them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Problems, Validate};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) store: Store,
}

/// Where orders are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Store {
    /// How many orders fit.
    pub(crate) capacity: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self { capacity: 1000 }
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        if self.store.capacity == 0 {
            problems.add("store.capacity", "must be at least 1");
        }
    }
}
