//! This service's own settings. The chassis's settings (`server`, `logs`, ...) are next to them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

/// Each field is a setting. Its doc comment is in the README and in `config/schema.json`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {}

impl Validate for Settings {
    fn validate(&self, _errors: &mut ValidationErrors) {}
}
