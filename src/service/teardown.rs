//! The end of a shutdown: awaits background tasks, runs the `on_stop` hooks, and exports the remaining traces.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, timeout_at};

use super::Stopped;
use crate::background::BackgroundTasks;
use crate::error::Error;
use crate::otlp::Export;
use crate::shutdown::{Hooks, Phase, Settings, Trigger};

/// The time for aborted work to end.
pub(super) const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Runs a whole process on its runtime, then gives aborted work a moment to end. Boxed: tokio's
/// machinery is large, and is compiled once for services and commands.
pub(super) fn block_on(
    runtime: Runtime,
    whole: Pin<Box<dyn Future<Output = Result<Stopped, Error>> + '_>>,
) -> Result<Stopped, Error> {
    let stopped = runtime.block_on(whole);
    runtime.shutdown_timeout(LAST_MOMENT);
    stopped
}

pub(super) struct Teardown {
    pub(super) tasks: BackgroundTasks,
    pub(super) hooks: Arc<Mutex<Hooks>>,
    pub(super) export: Export,
    /// The runtime of the hooks.
    pub(super) service: Handle,
}

impl Teardown {
    /// The part of the deadline that requests and tasks may use. The rest is kept for the hooks.
    pub(super) fn time_before(&self, settings: &Settings) -> Duration {
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        if hooks.is_empty() && !self.export.is_on() {
            *settings.deadline
        } else {
            settings.deadline.saturating_sub(*settings.hook_timeout)
        }
    }

    /// Runs the whole teardown, if there are no requests to wait for.
    pub(super) async fn run(&self, settings: &Settings, trigger: &Trigger) -> Stopped {
        trigger.advance(Phase::Closing);
        let begun = Instant::now();
        let until = begun + self.time_before(settings);
        let aborted_tasks = match timeout_at(until, self.tasks.ended()).await {
            Ok(()) => 0,
            Err(_) => self.abort_tasks().await,
        };
        let failed_hooks = self.finish(settings, begun + *settings.deadline).await;
        Stopped {
            aborted: 0,
            aborted_tasks,
            failed_hooks,
        }
    }

    /// Aborts the tasks that still run, and returns how many.
    pub(super) async fn abort_tasks(&self) -> usize {
        let aborted = self.tasks.abort_all();
        if aborted > 0 {
            tracing::warn!(tasks = aborted, "aborting background tasks");
            let _ = tokio::time::timeout(LAST_MOMENT, self.tasks.ended()).await;
        }
        aborted
    }

    /// Hooks and traces. How many hooks failed; like each of them, the export may take the time of one.
    pub(super) async fn finish(&self, settings: &Settings, deadline: Instant) -> usize {
        let hooks = std::mem::take(&mut *self.hooks.lock().unwrap_or_else(PoisonError::into_inner));
        let each = *settings.hook_timeout;
        let failed = hooks.run(each, deadline, &self.service).await;
        let left = deadline.saturating_duration_since(Instant::now());
        self.export.flush(each.min(left)).await;
        failed
    }
}
