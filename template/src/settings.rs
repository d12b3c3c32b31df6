//! This service's own settings. The chassis's settings (`server`, `logs`, ...) are next to them.

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

{% if database == "none" and example == "yes" -%}
use crate::store;

{% endif -%}
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    {%- if database == "none" and example == "yes" %}
    pub(crate) store: store::Settings,
    {%- endif %}
    {%- if database != "none" %}
    pub(crate) database: axum_chassis_sqlx::Settings,
    {%- endif %}
    {%- if redis == "yes" %}
    pub(crate) redis: axum_chassis_redis::Settings,
    {%- endif %}
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        {%- if database == "none" and example == "yes" %}
        errors.within("store", &self.store);
        {%- endif %}
        {%- if database != "none" %}
        errors.within("database", &self.database);
        {%- endif %}
        {%- if redis == "yes" %}
        errors.within("redis", &self.redis);
        {%- endif %}
    }
}
