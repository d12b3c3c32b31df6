//! The connection slots of a listener, and the warning when all are taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::events::Events;
use crate::limits::Limits;
use crate::rate_limit::RateLimit;

/// At most one warning is logged in this time.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// The slots for connections. Their number may change while the listener is open.
pub(super) struct Slots {
    pub(super) semaphore: Arc<Semaphore>,
    /// The number of slots, including those in use.
    number: usize,
    limits: Limits,
    warning_limit: RateLimit,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(0)),
            number: 0,
            limits,
            warning_limit: RateLimit::new(WARNING_PERIOD),
        }
    }

    /// Adjusts the number of slots to the limit. Surplus slots in use are removed when their connections have ended.
    pub(super) fn resize(&mut self, events: &dyn Events) {
        let limit = self.limits.connections().min(Semaphore::MAX_PERMITS);
        if limit == self.number {
            return;
        }
        if limit > self.number {
            self.semaphore.add_permits(limit - self.number);
            self.number = limit;
        } else {
            self.number -= self.semaphore.forget_permits(self.number - limit);
        }
        events.connections_limited(limit);
    }

    /// Warns that all slots are taken. `limit` names the setting that limits them.
    pub(super) fn warn(&self, limit: &str) {
        let Some(others) = self.warning_limit.admit() else {
            return;
        };
        tracing::warn!(
            connections = self.number,
            limit = self.limits.connections(),
            others,
            "at {limit}: the connection that has been idle longest makes room for each new one"
        );
    }
}
