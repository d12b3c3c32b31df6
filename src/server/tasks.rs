//! The tasks of a server: connections and HTTP/2 streams.

use std::future::Future;
use std::time::Duration;

use hyper::rt::Executor;
use prometheus::IntCounter;
use tokio::sync::watch;

use super::stream::TimedStream;

/// What serves connections and the streams of HTTP/2: each holds a receiver until it has ended,
/// with all its requests, and each socket one for as long as it is open.
#[derive(Clone)]
pub(super) struct ConnectionTasks {
    running: watch::Sender<()>,
    send_timeout: Duration,
    /// Counts streams that were reset by it.
    timeouts: IntCounter,
}

impl ConnectionTasks {
    pub(super) fn new(send_timeout: Duration, timeouts: IntCounter) -> Self {
        Self {
            running: watch::Sender::new(()),
            send_timeout,
            timeouts,
        }
    }

    /// Keeps [`ended`](Self::ended) waiting until it is dropped.
    pub(super) fn hold(&self) -> watch::Receiver<()> {
        self.running.subscribe()
    }

    /// Completes when all have ended.
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

/// hyper has the streams of HTTP/2 executed, and nothing else.
impl<F> Executor<F> for ConnectionTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(TimedStream::new(
            future,
            self.send_timeout,
            self.timeouts.clone(),
        ));
    }
}
