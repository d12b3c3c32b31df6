//! The order of a graceful shutdown under one deadline: readiness 503, stop accepting, finish or abort requests and
//! tasks, run the hooks.

use std::sync::Arc;
use std::time::Instant;

use axum_chassis_server::{Bound, ListenAddress, Routers};
use tokio::task::JoinHandle;

use super::Stopped;
use super::reload::Reload;
use super::teardown::{LAST_MOMENT, Teardown};
use crate::boxed::boxed;
use crate::error::Error;
use crate::logs;
use crate::server;
use crate::shutdown::{Phase, Signals};

/// A service that serves.
pub(super) struct Serving {
    pub(super) address: ListenAddress,
    signals: Signals,
    teardown: Teardown,
    server: JoinHandle<()>,
    _reload: Reload,
}

impl Serving {
    /// Listens on the bound address and serves. Before this call, connections are refused, so that clients try another
    /// replica.
    ///
    /// # Errors
    /// If another process has started to listen on the address. In this case, the teardown has already run.
    pub(super) async fn begin(
        bound: Bound,
        routers: Routers,
        settings: &server::Settings,
        signals: Signals,
        teardown: Teardown,
        reload: Reload,
    ) -> Result<Box<Self>, Error> {
        let address = bound.address().clone();
        let listening = match bound.listen() {
            Ok(listening) => listening,
            Err(error) => {
                teardown.run().await;
                return Err(Error::bind("main")(error));
            }
        };
        let shared = &teardown.shared;
        let served = listening.serve(
            routers,
            settings.clone(),
            shared.limits.clone(),
            shared.shutdown.clone(),
            Arc::new(shared.http.clone()),
        );
        let server = tokio::spawn(boxed(served));
        shared.readiness.set_started();
        tracing::info!(listener = "main", %address, "listening");
        Ok(Box::new(Self {
            address,
            signals,
            teardown,
            server,
            _reload: reload,
        }))
    }

    /// Waits for a request to stop, and runs the graceful shutdown. Runs on the admin thread.
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
        // The handle must not be polled again once it has returned its result.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout(LAST_MOMENT, &mut self.server).await;
        }
        usize::try_from(connections).unwrap_or_default()
    }
}
