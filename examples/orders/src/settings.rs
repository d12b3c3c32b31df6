//! This service's own settings. Those of the chassis (`server`, `logs`, ...) stand beside them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// Where orders are kept.
    pub(crate) database: axum_chassis_sqlx::Settings,
    /// Where views are counted. Without a URL they are not.
    pub(crate) redis: axum_chassis_redis::Settings,
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        errors.within("database", &self.database);
        if !self.redis.url.is_empty() {
            errors.within("redis", &self.redis);
        }
    }
}
