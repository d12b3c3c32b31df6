//! Graceful shutdown: its deadline, the signals that start it, and the hooks that run at the end. The crate
//! `axum-chassis-server` has its phases.

mod hooks;
mod signals;

use std::time::Duration as StdDuration;

pub(crate) use axum_chassis_server::shutdown::Phase;
#[doc(inline)]
pub use axum_chassis_server::shutdown::{Shutdown, Trigger, channel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::hooks::Hooks;
pub(crate) use self::signals::{Signals, StopCause, StopRequest};
use crate::settings::{Duration, Validate, ValidationErrors};

/// `[shutdown]`: graceful shutdown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The time the service keeps serving after readiness has turned 503, until load balancers and proxies have
    /// noticed. Unset, it is 5 s, or less where `shutdown.deadline` is short; 0 s where `service.platform` is a terminal.
    pub delay: Option<Duration>,
    /// The longest time of the whole shutdown, the delay included. Keep it below the pod's grace period.
    pub deadline: Duration,
    /// The timeout of each `on_stop` hook. The same time before `shutdown.deadline` is reserved for the hooks.
    pub hook_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay: None,
            deadline: Duration::from_secs(25),
            hook_timeout: Duration::from_secs(3),
        }
    }
}

impl Settings {
    /// The delay as set, or the default outside of a terminal.
    pub fn delay(&self) -> StdDuration {
        /// The default. Health checks of most proxies fail within this time, and Kubernetes updates its endpoints.
        const DELAY: StdDuration = StdDuration::from_secs(5);
        match self.delay {
            Some(delay) => *delay,
            // If the deadline is short, at least half of the time before the hooks is left for requests in flight.
            None => DELAY.min(self.deadline.saturating_sub(*self.hook_timeout) / 2),
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.delay() + *self.hook_timeout >= *self.deadline {
            errors.add(
                "shutdown.deadline",
                format!(
                    "must be longer than shutdown.delay ({}) and shutdown.hook_timeout ({}) together",
                    Duration::from(self.delay()),
                    self.hook_timeout
                ),
            );
        }
    }
}
