//! Liveness: detects a runtime that no longer runs tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Beats as long as a runtime runs tasks. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    epoch: Instant,
    /// Milliseconds after `epoch`.
    last: Arc<AtomicU64>,
    stall: Duration,
}

impl Heartbeat {
    pub(crate) fn new(stall: Duration) -> Self {
        Self {
            epoch: Instant::now(),
            last: Arc::default(),
            stall,
        }
    }

    /// Beats on the runtime this future is spawned on, until it is dropped.
    pub(crate) async fn beat(self) {
        let mut ticks = tokio::time::interval((self.stall / 4).min(Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.last.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The time for which the runtime has been stalled. `None` if it is not stalled.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        let silent =
            Duration::from_millis(self.now() - self.last.load(Ordering::Relaxed).min(self.now()));
        (silent > self.stall).then_some(silent)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_heartbeat_is_a_stall() {
        let heart = Heartbeat::new(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert!(heart.stalled().is_some());
        let heart = Heartbeat::new(Duration::from_secs(3600));
        assert_eq!(heart.stalled(), None);
    }
}
