//! The settings of a database connection pool.

use axum_chassis::health::Role;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration, Secret, Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// PostgreSQL stores `statement_timeout` as an `int` of milliseconds, which overflows after 24.8 days.
const LONGEST_STATEMENT: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// A section such as `[database]`, to embed in a service's own settings.
///
/// If the section is `database`, its `url` can also be set with the variable `DATABASE_URL` or the secret file
/// `database-url`. Validate it in the service's settings with
/// [`ValidationErrors::within`]`("database", &self.database)`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The database's URL: `postgres://USER:PASSWORD@HOST:5432/NAME` or `sqlite:PATH`. Required.
    pub url: Secret,
    /// The largest number of connections in the pool. The readiness check has one more.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_connections: u32,
    /// Timeout of a query that waits for a connection of the pool: 503 after it.
    pub acquire_timeout: Duration,
    /// Idle connections are closed after this time; 0s disables it. PostgreSQL only.
    pub idle_timeout: Duration,
    /// Statement timeout: 503 after it. 0s disables it. For SQLite, the longest wait of a statement for a lock.
    pub statement_timeout: Duration,
    /// Effect on readiness while the database is down: `gate` makes the service not ready, `inform` does not.
    pub readiness: Role,
}

impl Default for Settings {
    /// The URL is empty. The timeouts together are well below `limits.request_timeout`, so that a client gets a 503
    /// with `Retry-After` rather than a 504.
    fn default() -> Self {
        Self {
            url: Secret::default(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(600),
            statement_timeout: Duration::from_secs(10),
            readiness: Role::Gate,
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if let Err(wrong) = Address::read(&self.url) {
            errors.add("url", wrong);
        }
        // The schema has this range as well, but it does not check settings that are made in code.
        if !(1..=10_000).contains(&self.max_connections) {
            errors.add("max_connections", "must be from 1 to 10000");
        }
        if self.acquire_timeout.is_zero() {
            errors.add("acquire_timeout", "must be longer than 0s");
        }
        if self.statement_timeout > LONGEST_STATEMENT {
            errors.add(
                "statement_timeout",
                format!("must be at most {LONGEST_STATEMENT}; 0s disables it"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_from_1_to_10000_connections_also_in_settings_made_in_code() {
        for (max_connections, error) in [
            (0, "max_connections: must be from 1 to 10000"),
            (1, ""),
            (10_000, ""),
            (10_001, "max_connections: must be from 1 to 10000"),
        ] {
            let mut errors = ValidationErrors::default();
            let url = "postgres://db/orders".into();
            let settings = Settings {
                url,
                max_connections,
                ..Settings::default()
            };
            settings.validate(&mut errors);
            assert_eq!(errors.to_string(), error, "{max_connections}");
        }
    }
}
