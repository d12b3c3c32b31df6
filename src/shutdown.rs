//! Graceful shutdown: its phases, its deadline, and the hooks that run at the end.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration as StdDuration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::boxed::{Boxed, boxed};
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

/// Requests a shutdown from within the program. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopRequest(watch::Sender<Option<String>>);

impl StopRequest {
    /// Requests the shutdown. Of several requests, the reason of the first counts.
    pub(crate) fn send(&self, reason: String) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
    }

    /// Completes with the reason, once there is one.
    pub(crate) async fn reason(&self) -> String {
        let mut requests = self.0.subscribe();
        let reason = requests.wait_for(Option::is_some).await;
        let reason = reason.map(|reason| reason.clone());
        // There always is a reason, because this sender keeps the channel open.
        reason.ok().flatten().unwrap_or_default()
    }
}

/// The cause of a shutdown.
#[derive(Debug)]
pub(crate) enum StopCause {
    /// A signal of this name.
    Signal(&'static str),
    /// The program, for this reason.
    Program(String),
}

impl StopCause {
    /// The signal, for a field of the log.
    pub(crate) fn signal(&self) -> Option<&str> {
        match self {
            Self::Signal(name) => Some(name),
            Self::Program(_) => None,
        }
    }

    /// The program's reason, for a field of the log.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Signal(_) => None,
            Self::Program(reason) => Some(reason),
        }
    }
}

/// The requests to stop: the signals SIGTERM and SIGINT, and requests of the program itself.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<&'static str>,
    program: StopRequest,
    /// Whether a signal has been received.
    is_signalled: bool,
}

impl Signals {
    /// Replaces the default action of the signals, which is to end the process at once.
    ///
    /// # Errors
    /// If the operating system rejects this.
    pub(crate) fn listen(program: StopRequest) -> std::io::Result<Self> {
        let (send, signals) = Self::channel(program);
        #[cfg(unix)]
        for (name, kind) in [
            ("SIGTERM", tokio::signal::unix::SignalKind::terminate()),
            ("SIGINT", tokio::signal::unix::SignalKind::interrupt()),
        ] {
            let mut signal = tokio::signal::unix::signal(kind)?;
            let send = send.clone();
            tokio::spawn(boxed(async move {
                while signal.recv().await.is_some() && send.send(name).is_ok() {}
            }));
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() && send.send("Ctrl-C").is_ok() {}
        });
        Ok(signals)
    }

    /// Signals that are sent from within this process: by name, with the returned sender.
    pub(crate) fn channel(program: StopRequest) -> (mpsc::UnboundedSender<&'static str>, Self) {
        let (send, receive) = mpsc::unbounded_channel();
        let signals = Self {
            received: receive,
            program,
            is_signalled: false,
        };
        (send, signals)
    }

    /// The first request to stop.
    pub(crate) async fn stop(&mut self) -> StopCause {
        let program = self.program.clone();
        tokio::select! {
            biased;
            signal = self.next() => StopCause::Signal(signal),
            reason = program.reason() => StopCause::Program(reason),
        }
    }

    /// Waits for the signal that aborts the shutdown, which is the second one. This is so even if the program itself
    /// requested the shutdown: the first signal may then come from an orchestrator that does not know this, and only
    /// wants a graceful shutdown.
    pub(crate) async fn abort(&mut self) -> &'static str {
        if !self.is_signalled {
            let signal = self.next().await;
            tracing::info!(signal, "already stopping");
        }
        self.next().await
    }

    /// The next signal's name. Never completes once no signal can come any more.
    async fn next(&mut self) -> &'static str {
        match self.received.recv().await {
            Some(name) => {
                self.is_signalled = true;
                name
            }
            None => std::future::pending().await,
        }
    }
}

type Act = Box<dyn FnOnce() -> Boxed<anyhow::Result<()>> + Send>;

/// The shutdown hooks, which run after the last request.
#[derive(Default)]
pub(crate) struct Hooks(Vec<(String, Act)>);

impl Hooks {
    pub(crate) fn push<F, Fut>(&mut self, name: String, act: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.0.push((name, Box::new(move || boxed(act()))));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the hooks, last registered first, each for at most `each` and none past `deadline`.
    ///
    /// If a hook fails, panics or takes too long, this is logged, and the next hook runs. Returns the number of these
    /// hooks.
    ///
    /// The hooks run on the runtime of `service`; their timeouts run on the caller's.
    pub(crate) async fn run(self, each: StdDuration, deadline: Instant, service: &Handle) -> usize {
        let mut failed = 0;
        for (hook, act) in self.0.into_iter().rev() {
            let until = deadline.min(Instant::now() + each);
            // A task of its own, so that a panic is one hook's failure.
            let mut task = service.spawn(boxed(async move { act().await }));
            let problem = match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => format!("{error:#}"),
                Ok(Err(panic)) => panic.to_string(),
                Err(_) => {
                    task.abort();
                    "timed out".to_owned()
                }
            };
            failed += 1;
            tracing::error!(hook, error = problem, "shutdown hook failed");
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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

    #[tokio::test(start_paused = true)]
    async fn only_the_second_signal_aborts_a_stop_that_the_program_asked_for() {
        let program = StopRequest::default();
        let (send, mut signals) = Signals::channel(program.clone());
        program.send("lost the lease".to_owned());
        program.send("twice".to_owned());
        assert_eq!(signals.stop().await.reason(), Some("lost the lease"));
        let _ = send.send("SIGTERM");
        let hour = StdDuration::from_secs(3600);
        assert!(tokio::time::timeout(hour, signals.abort()).await.is_err());
        let _ = send.send("SIGINT");
        assert_eq!(signals.abort().await, "SIGINT");
    }

    #[tokio::test(start_paused = true)]
    async fn hooks_run_in_reverse_order_and_a_failing_one_does_not_stop_the_rest() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut hooks = Hooks::default();
        let note = |name: &'static str| {
            let order = order.clone();
            move || async move {
                order.lock().expect("not poisoned").push(name);
                match name {
                    "hangs" => std::future::pending().await,
                    "fails" => anyhow::bail!("no"),
                    "panics" => panic!("no"),
                    _ => Ok(()),
                }
            }
        };
        for name in ["first", "hangs", "fails", "panics", "last"] {
            hooks.push(name.to_owned(), note(name));
        }
        let begun = Instant::now();
        let failed = hooks
            .run(
                StdDuration::from_secs(3),
                begun + StdDuration::from_secs(25),
                &Handle::current(),
            )
            .await;
        assert_eq!(
            *order.lock().expect("not poisoned"),
            ["last", "panics", "fails", "hangs", "first"]
        );
        assert_eq!(failed, 3);
        assert_eq!(begun.elapsed(), StdDuration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_hook_outlives_the_deadline() {
        let mut hooks = Hooks::default();
        for _ in 0..10 {
            hooks.push("hangs".to_owned(), std::future::pending);
        }
        let begun = Instant::now();
        let failed = hooks
            .run(
                StdDuration::from_secs(3),
                begun + StdDuration::from_secs(4),
                &Handle::current(),
            )
            .await;
        assert_eq!((failed, begun.elapsed()), (10, StdDuration::from_secs(4)));
    }
}
