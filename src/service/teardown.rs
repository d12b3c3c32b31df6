//! The end of a shutdown: awaits background tasks, runs the `on_stop` hooks, and flushes the exporters.

use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, timeout_at};

use super::Stopped;
use super::exporter::Exporters;
use crate::error::Error;
use crate::shared::Shared;
use crate::shutdown::{Hooks, Phase, Settings, Trigger};

/// The time for aborted work to end.
pub(super) const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Runs a whole process on its runtime, then gives aborted work a moment to end. The future is boxed, so that tokio's
/// large `block_on` is compiled only once, for services and commands.
pub(super) fn block_on(
    runtime: Runtime,
    whole: Pin<Box<dyn Future<Output = Result<Stopped, Error>> + '_>>,
) -> Result<Stopped, Error> {
    let stopped = runtime.block_on(whole);
    runtime.shutdown_timeout(LAST_MOMENT);
    stopped
}

pub(super) struct Teardown {
    pub(super) shared: Arc<Shared>,
    pub(super) trigger: Trigger,
    pub(super) settings: Settings,
    exporters: Exporters,
    /// The runtime on which the hooks run.
    service: Handle,
}

impl Teardown {
    /// Hooks run on the runtime of the caller.
    pub(super) fn new(
        shared: Arc<Shared>,
        trigger: Trigger,
        settings: Settings,
        exporters: Exporters,
    ) -> Self {
        Self {
            shared,
            trigger,
            settings,
            exporters,
            service: Handle::current(),
        }
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        let hooks = self.shared.hooks.lock();
        hooks.unwrap_or_else(PoisonError::into_inner)
    }

    /// The part of `shutdown.deadline` that requests and tasks may use. The rest is reserved for the hooks
    /// and the exporters, if there are any.
    pub(super) fn time_before(&self) -> Duration {
        let Settings {
            deadline,
            hook_timeout,
            ..
        } = &self.settings;
        if self.hooks().is_empty() && self.exporters.is_empty() {
            **deadline
        } else {
            deadline.saturating_sub(**hook_timeout)
        }
    }

    /// Runs the whole teardown of a service or a command that does not serve requests.
    pub(super) async fn run(&self) -> Stopped {
        self.trigger.advance(Phase::Closing);
        let begun = Instant::now();
        let until = begun + self.time_before();
        let aborted_tasks = match timeout_at(until, self.shared.tasks.ended()).await {
            Ok(()) => 0,
            Err(_) => self.abort_tasks().await,
        };
        let failed_hooks = self.finish(begun + *self.settings.deadline).await;
        Stopped {
            aborted: 0,
            aborted_tasks,
            failed_hooks,
        }
    }

    /// Aborts the tasks that still run, and returns their number.
    pub(super) async fn abort_tasks(&self) -> usize {
        let tasks = &self.shared.tasks;
        let aborted = tasks.abort_all();
        if aborted > 0 {
            tracing::warn!(tasks = aborted, "aborting background tasks");
            let _ = tokio::time::timeout(LAST_MOMENT, tasks.ended()).await;
        }
        aborted
    }

    /// Runs the hooks, then flushes the exporters, which may take as long as one hook. Returns the number of failed
    /// hooks.
    pub(super) async fn finish(&self, deadline: Instant) -> usize {
        let hooks = std::mem::take(&mut *self.hooks());
        let each = *self.settings.hook_timeout;
        let failed = hooks.run(each, deadline, &self.service).await;
        let left = deadline.saturating_duration_since(Instant::now());
        self.exporters.flush(each.min(left)).await;
        failed
    }
}

impl Drop for Teardown {
    /// Aborts the tasks if the teardown has not run: otherwise they would outlive the service.
    fn drop(&mut self) {
        self.shared.tasks.abort_all();
    }
}
