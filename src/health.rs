//! Health checks: liveness and readiness.
//!
//! Liveness is about the process itself: its runtime still runs tasks. Readiness is about the service's work: the
//! service has started, is not stopping, and its dependencies respond. Dependencies never affect liveness: restarting a
//! service does not repair its database.
//!
//! A probe never waits for a dependency: checks run in the background, and a probe
//! reads their last verdicts.

mod check;
mod heartbeat;
mod readiness;
mod report;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::check::{Check, Role};
pub(crate) use self::heartbeat::Heartbeat;
pub use self::readiness::Readiness;
#[cfg(feature = "admin-page")]
pub(crate) use self::report::ReadinessReport;
use crate::settings::{Duration, Validate, ValidationErrors};

/// `[health]`: how readiness checks and the heartbeat run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// Time between two runs of a readiness check.
    pub interval: Duration,
    /// Timeout of one run of a check.
    pub timeout: Duration,
    /// The number of runs that have to fail in a row before a check counts as down.
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// The number of runs that have to succeed in a row before a check counts as up again.
    #[schemars(range(min = 1))]
    pub successes: u32,
    /// Liveness turns 503 when the service's runtime has run no task for this long.
    pub stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: 3,
            successes: 1,
            stall: Duration::from_secs(10),
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        for (key, value) in [
            ("health.interval", self.interval),
            ("health.timeout", self.timeout),
            ("health.stall", self.stall),
        ] {
            if value.is_zero() {
                errors.add(key, "must be longer than 0s");
            }
        }
        // The schema has these ranges as well, but it does not check settings that are made in code.
        for (key, value) in [
            ("health.failures", self.failures),
            ("health.successes", self.successes),
        ] {
            if value == 0 {
                errors.add(key, "must be at least 1");
            }
        }
    }
}
