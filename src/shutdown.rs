//! Graceful shutdown: its phases and its deadline, the signals that start it, and the hooks that run at the end.

mod hooks;
mod signals;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration as StdDuration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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

/// The phases of a graceful shutdown. They only ever advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
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

    pub(crate) fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Abort)
    }

    /// Completes in this phase or a later one, and wakes its task at each earlier change too.
    pub(crate) async fn reached(&self, phase: Phase) {
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
/// let (trigger, shutdown) = axum_chassis::shutdown::channel();
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
    pub(crate) fn new() -> Self {
        Self {
            changes: watch::Sender::new(Phase::Running),
            phase: Arc::default(),
        }
    }

    pub(crate) fn watch(&self) -> Shutdown {
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
    pub(crate) fn advance(&self, phase: Phase) {
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
