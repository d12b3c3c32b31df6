//! The tasks of a server: connections and HTTP/2 streams.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::sync::watch;

use super::stream::TimedStream;
use crate::events::Events;

/// Spawns and tracks the tasks of connections and HTTP/2 streams. Each task holds a receiver of `running`
/// until the task has ended, and with it all its requests. Each socket holds one too, until the socket is closed.
#[derive(Clone)]
pub(super) struct ConnectionTasks {
    running: watch::Sender<()>,
    send_timeout: Duration,
    /// Receives the number of streams that were reset after `send_timeout`.
    events: Arc<dyn Events>,
}

impl ConnectionTasks {
    pub(super) fn new(send_timeout: Duration, events: Arc<dyn Events>) -> Self {
        Self {
            running: watch::Sender::new(()),
            send_timeout,
            events,
        }
    }

    /// Returns a receiver; [`ended`](Self::ended) waits until it is dropped.
    pub(super) fn hold(&self) -> watch::Receiver<()> {
        self.running.subscribe()
    }

    /// Completes when all tasks have ended and all sockets are closed.
    pub(super) async fn ended(&self) {
        self.running.closed().await;
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let running = self.running.subscribe();
        tokio::spawn(async move {
            future.await;
            drop(running);
        });
    }
}

/// hyper uses the executor for HTTP/2 streams only.
impl<F> Executor<F> for ConnectionTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(TimedStream::new(
            future,
            self.send_timeout,
            self.events.clone(),
        ));
    }
}
