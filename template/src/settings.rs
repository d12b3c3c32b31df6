//! This service's own settings. The chassis's settings (`server`, `logs`, ...) are next to them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

#[cfg(all(feature = "example", not(feature = "database")))]
use crate::store;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    #[cfg(feature = "auth")]
    pub(crate) auth: axum_chassis_auth::Settings,
    #[cfg(all(feature = "example", not(feature = "database")))]
    pub(crate) store: store::Settings,
    #[cfg(feature = "database")]
    pub(crate) database: axum_chassis_sqlx::Settings,
    #[cfg(feature = "redis")]
    pub(crate) redis: axum_chassis_redis::Settings,
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        #[cfg(feature = "auth")]
        errors.within("auth", &self.auth);
        #[cfg(all(feature = "example", not(feature = "database")))]
        errors.within("store", &self.store);
        #[cfg(feature = "database")]
        errors.within("database", &self.database);
        #[cfg(feature = "redis")]
        errors.within("redis", &self.redis);
    }
}
