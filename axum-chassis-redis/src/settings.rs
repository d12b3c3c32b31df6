//! The settings of a Redis connection pool.

use axum_chassis::health::Role;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration, Secret, Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

use crate::address;

/// A section such as `[redis]`, to embed in a service's own settings.
///
/// If the section is `redis`, its `url` can also be set with the variable `REDIS_URL` or the secret file `redis-url`.
/// Validate it in the service's settings with [`ValidationErrors::within`]`("redis", &self.redis)`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The Redis URL: `redis://USER:PASSWORD@HOST:6379/0`, or `rediss://` for TLS. Required.
    pub url: Secret,
    /// The number of connections. Each carries many commands at once: one is enough for most services.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: u32,
    /// Timeout of connecting.
    pub connect_timeout: Duration,
    /// Response timeout of a command: 503 after it. 0s disables it.
    pub response_timeout: Duration,
    /// Effect on readiness while Redis is down: `gate` makes the service not ready, `inform` does not.
    pub readiness: Role,
}

impl Default for Settings {
    /// No URL.
    fn default() -> Self {
        Self {
            url: Secret::default(),
            pool_size: 1,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            readiness: Role::Gate,
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if let Err(wrong) = address::read(&self.url) {
            errors.add("url", wrong);
        }
        // The schema has this range as well, but it does not check settings that are made in code.
        if !(1..=1000).contains(&self.pool_size) {
            errors.add("pool_size", "must be from 1 to 1000");
        }
        if self.connect_timeout.is_zero() {
            errors.add("connect_timeout", "must be longer than 0s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_from_1_to_1000_connections_also_in_settings_made_in_code() {
        for (pool_size, error) in [
            (0, "pool_size: must be from 1 to 1000"),
            (1, ""),
            (1000, ""),
            (1001, "pool_size: must be from 1 to 1000"),
        ] {
            let mut errors = ValidationErrors::default();
            let url = "redis://cache".into();
            let settings = Settings {
                url,
                pool_size,
                ..Settings::default()
            };
            settings.validate(&mut errors);
            assert_eq!(errors.to_string(), error, "{pool_size}");
        }
    }
}
