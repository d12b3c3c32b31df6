//! This service's own settings. The chassis's settings (`server`, `logs`, ...) are next to them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// The database with the orders.
    pub(crate) database: axum_chassis_sqlx::Settings,
    /// The Redis that counts views. Without a URL, views are not counted.
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
