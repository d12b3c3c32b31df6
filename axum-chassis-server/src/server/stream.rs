//! The send timeout of an HTTP/2 stream. The timeout of the connection is not enough, because other streams keep using
//! the connection.
//!
//! hyper polls for a body's next chunk only once the client's window and the connection have room for it. As long as
//! hyper does not poll after a chunk, the next chunk therefore waits for the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::events::Events;

tokio::task_local! {
    /// The wait of the task's stream.
    static WAIT: Wait;
}

/// The time since which the response of a stream waits for its client.
#[derive(Clone)]
pub(super) struct Wait(Arc<WaitState>);

struct WaitState {
    epoch: Instant,
    /// In nanoseconds after `epoch`; 0 while it does not wait.
    since: AtomicU64,
}

impl Wait {
    fn new() -> Self {
        Self(Arc::new(WaitState {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
        }))
    }

    /// Returns the wait of this task's stream, if the task serves one.
    pub(super) fn current() -> Option<Self> {
        WAIT.try_with(Clone::clone).ok()
    }

    /// Records that the next chunk waits for the client.
    pub(super) fn begin(&self) {
        let elapsed = self.0.epoch.elapsed().as_nanos();
        let since = u64::try_from(elapsed).unwrap_or(u64::MAX).max(1);
        self.0.since.store(since, Ordering::Relaxed);
    }

    /// Records that nothing waits for the client: the service has to produce the next chunk, or the body has ended.
    pub(super) fn end(&self) {
        self.0.since.store(0, Ordering::Relaxed);
    }

    fn since(&self) -> Option<Instant> {
        let since = self.0.since.load(Ordering::Relaxed);
        (since > 0).then(|| self.0.epoch + Duration::from_nanos(since))
    }
}

pin_project! {
    /// The future that serves a stream. Dropping it resets the stream.
    pub(super) struct TimedStream<F> {
        #[pin]
        answer: TaskLocalFuture<Wait, F>,
        wait: Wait,
        limit: Duration,
        events: Arc<dyn Events>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> TimedStream<F> {
    pub(super) fn new(answer: F, limit: Duration, events: Arc<dyn Events>) -> Self {
        let wait = Wait::new();
        Self {
            answer: WAIT.scope(wait.clone(), answer),
            wait,
            limit,
            events,
            timer: None,
        }
    }
}

impl<F: Future<Output = ()>> Future for TimedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.answer.poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = this.wait.since() else {
            return Poll::Pending;
        };
        let deadline = since + *this.limit;
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => {
                this.events.send_timed_out();
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
