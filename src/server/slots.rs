//! The places for connections of a listener, and the warning when all are taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::metrics::http::Http;

/// The places for connections. Their number may change while the listener is open.
pub(super) struct Slots {
    pub(super) semaphore: Arc<Semaphore>,
    /// How many the semaphore has, those taken included.
    number: usize,
    limits: Limits,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(0)),
            number: 0,
            limits,
        }
    }

    /// Has as many as the limit says. Those that are taken go once their connections have ended.
    pub(super) fn resize(&mut self, http: &Http) {
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
        http.connections_limit
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
    }
}

/// Logs that a listener is at its limit: once, and again after a while.
#[derive(Default)]
pub(super) struct Full(Option<Instant>);

impl Full {
    const PAUSE: Duration = Duration::from_secs(60);

    pub(super) fn note(&mut self, http: &Http) {
        if self.0.is_some_and(|last| last.elapsed() < Self::PAUSE) {
            return;
        }
        self.0 = Some(Instant::now());
        tracing::warn!(
            connections = http.connections.get(),
            limit = http.connections_limit.get(),
            "at server.max_connections: the connection that has been idle longest makes room for each new one"
        );
    }
}
