//! This service's own settings. The chassis' (`server`, `logs`, ...) stand beside them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Problems, Validate};
use serde::{Deserialize, Serialize};

use crate::store;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) store: store::Settings,
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        problems.within("store", &self.store);
    }
}
