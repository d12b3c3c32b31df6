//! The order of a graceful shutdown under one deadline: readiness 503, stop accepting, finish or abort requests and
//! tasks, run the hooks.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::Stopped;
use super::reload::Reload;
use super::teardown::{LAST_MOMENT, Teardown};
use crate::logs;
use crate::shutdown::{Phase, Signals};

/// A service that serves.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    pub(super) signals: Signals,
    pub(super) teardown: Teardown,
    pub(super) server: JoinHandle<()>,
    pub(super) _reload: Reload,
}

impl Serving {
    /// Waits for the request to stop, and stops in order. Runs on the admin thread.
    pub(super) async fn until_stopped(mut self: Box<Self>) -> Stopped {
        let cause = self.signals.stop().await;
        let began = Instant::now();
        let Teardown {
            shared,
            trigger,
            settings,
            ..
        } = &self.teardown;
        let delay = settings.delay();
        tracing::info!(
            signal = cause.signal(),
            reason = cause.reason(),
            delay_ms = delay.as_millis() as u64,
            "stopping"
        );

        shared.readiness.set_stopping();
        trigger.advance(Phase::Draining);
        let in_time = self.teardown.time_before();
        let drained = async {
            tokio::time::sleep(delay).await;
            trigger.advance(Phase::Closing);
            tracing::info!(
                connections = shared.http.connections.get(),
                "no longer accepting connections"
            );
            let _ = (&mut self.server).await;
            shared.tasks.ended().await;
        };
        let hurried = tokio::select! {
            drained = tokio::time::timeout(in_time, drained) => {
                drained.err().map(|_| "the deadline")
            }
            signal = self.signals.abort() => Some(signal),
        };
        let (aborted, aborted_tasks) = match hurried {
            None => (0, 0),
            Some(reason) => (self.abort(reason).await, self.teardown.abort_tasks().await),
        };
        let deadline = began + *self.teardown.settings.deadline;
        let failed_hooks = self.teardown.finish(deadline.into()).await;
        tracing::info!(
            aborted,
            aborted_tasks,
            failed_hooks,
            duration_ms = logs::milliseconds(began.elapsed()),
            "stopped"
        );
        Stopped {
            aborted,
            aborted_tasks,
            failed_hooks,
        }
    }

    async fn abort(&mut self, reason: &str) -> usize {
        let http = &self.teardown.shared.http;
        let connections = http.connections.get();
        let requests = http.active_requests.get();
        self.teardown.trigger.advance(Phase::Abort);
        http.connections_aborted
            .inc_by(u64::try_from(connections).unwrap_or_default());
        tracing::warn!(
            connections,
            requests,
            reason,
            "aborting the remaining requests"
        );
        // A task that has ended must not be awaited again.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout(LAST_MOMENT, &mut self.server).await;
        }
        usize::try_from(connections).unwrap_or_default()
    }
}
