//! The phases of a graceful shutdown, and who waits for them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (trigger, shutdown) = axum_chassis_server::shutdown::channel();
//! let worker = tokio::spawn(async move { shutdown.stopping().await });
//! trigger.stop();
//! assert!(worker.await.is_ok());
//! # }
//! ```
//!
//! A server that gets the [`Shutdown`] closes its listener after [`Trigger::stop`], and finishes the requests in flight.
//! Dropping the [`Trigger`] aborts the requests that still run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// The phases of a graceful shutdown. They only ever advance.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "axum-chassis handles each phase, and is released together with this crate"
)]
pub enum Phase {
    /// Before a shutdown.
    Running,
    /// Not ready any more, and still serving; clients are asked to reconnect elsewhere.
    Draining,
    /// Accepts nothing new; what is in flight may finish.
    Closing,
    /// Remaining connections and tasks are dropped.
    Abort,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Running, Self::Draining, Self::Closing, Self::Abort];
}

/// The shutdown signal, for code that takes part in a graceful shutdown. Cheap to clone.
#[derive(Clone)]
pub struct Shutdown {
    changes: watch::Receiver<Phase>,
    /// The same phase, for checks at each request: one load, no lock.
    phase: Arc<AtomicU8>,
}

impl Shutdown {
    /// Whether the service has stopped accepting requests.
    pub fn is_stopping(&self) -> bool {
        self.phase() >= Phase::Closing
    }

    /// Completes when the service stops accepting requests. Streams, WebSockets and background work should end then.
    pub async fn stopping(&self) {
        self.reached(Phase::Closing).await;
    }

    /// The current phase.
    #[doc(hidden)]
    #[inline]
    pub fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Abort)
    }

    /// Completes in this phase or a later one, and wakes its task at each earlier change too.
    #[doc(hidden)]
    pub async fn reached(&self, phase: Phase) {
        let mut watch = self.changes.clone();
        // This does not fail, because the trigger advances to the last phase before it is dropped.
        let _ = watch.wait_for(|now| *now >= phase).await;
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.phase()).finish()
    }
}

/// A shutdown and its trigger, for tests of code that takes part in a shutdown, and for a `main` of your own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (trigger, shutdown) = axum_chassis_server::shutdown::channel();
/// let worker = tokio::spawn(async move { shutdown.stopping().await });
/// trigger.stop();
/// assert!(worker.await.is_ok());
/// # }
/// ```
pub fn channel() -> (Trigger, Shutdown) {
    let trigger = Trigger::new();
    let shutdown = trigger.watch();
    (trigger, shutdown)
}

/// Triggers every [`Shutdown`] that was created with it. When it is dropped, [`Shutdown::stopping`] completes as well.
#[derive(Debug)]
#[must_use = "dropping it stops what waits for its `Shutdown`"]
pub struct Trigger {
    changes: watch::Sender<Phase>,
    phase: Arc<AtomicU8>,
}

impl Trigger {
    fn new() -> Self {
        Self {
            changes: watch::Sender::new(Phase::Running),
            phase: Arc::default(),
        }
    }

    fn watch(&self) -> Shutdown {
        Shutdown {
            changes: self.changes.subscribe(),
            phase: self.phase.clone(),
        }
    }

    /// Ends the wait of all code that waits for its [`Shutdown`], as a service does when it stops accepting requests.
    pub fn stop(&self) {
        self.advance(Phase::Closing);
    }

    /// Advances to `phase`, but never back to an earlier phase.
    #[doc(hidden)]
    pub fn advance(&self, phase: Phase) {
        self.changes.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            // Stored before waiters wake, so that they see it.
            self.phase.store(*now as u8, Ordering::Release);
            later
        });
    }
}

impl Drop for Trigger {
    /// Nothing else could end the wait of code that waits for a phase.
    fn drop(&mut self) {
        self.advance(Phase::Abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_trigger_wakes_waiting_tasks_and_so_does_dropping_it() {
        let (trigger, shutdown) = channel();
        assert!(!shutdown.is_stopping());
        trigger.stop();
        shutdown.stopping().await;
        assert!(shutdown.is_stopping());
        let (trigger, shutdown) = channel();
        drop(trigger);
        shutdown.stopping().await;
        assert!(shutdown.is_stopping());
    }

    #[tokio::test]
    async fn phases_only_advance() {
        let trigger = Trigger::new();
        let shutdown = trigger.watch();
        trigger.advance(Phase::Closing);
        trigger.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Closing);
        shutdown.stopping().await;
        assert!(shutdown.is_stopping());
    }
}
