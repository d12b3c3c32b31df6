//! What happens on a connection, noted where it happens: by its socket and by its requests, which
//! may run on other threads than the connection.
//!
//! The atomics are the parent's: tests/models has this file with loom's, which try every order.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Version;

use super::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What happens on a connection, as far as its time limits depend on it.
pub(super) struct Activity {
    epoch: Instant,
    /// Requests whose responses have not been handed over in full.
    under_way: AtomicU32,
    /// Something has arrived since the last request. Most requests arrive whole, and then nobody
    /// has to know when.
    head_begun: AtomicBool,
    /// When the client began to send the headers of the next request, or connected; 0 for neither.
    /// In nanoseconds after `epoch`, as is `idle_since`.
    head_since: AtomicU64,
    idle_since: AtomicU64,
    /// Since when the client has not taken what we want to send; 0 if it does.
    stuck_since: AtomicU64,
    fresh: AtomicBool,
    http2: AtomicBool,
    closed: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            under_way: AtomicU32::new(0),
            head_begun: AtomicBool::new(false),
            head_since: AtomicU64::new(1),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
            fresh: AtomicBool::new(true),
            http2: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Notes that something has come from the client.
    pub(super) fn received(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
            // Pings and window updates are not requests: HTTP/2 has its own keep-alive.
            && !self.http2.load(Ordering::Relaxed)
        {
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Notes whether the client takes what is sent.
    pub(super) fn sent<T>(&self, progress: &Poll<T>) {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        match progress {
            Poll::Pending if stuck == 0 => self.stuck_since.store(self.now(), Ordering::Relaxed),
            Poll::Ready(_) if stuck > 0 => self.stuck_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    pub(super) fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.head_begun.store(false, Ordering::Relaxed);
        if self.fresh.load(Ordering::Relaxed) {
            self.fresh.store(false, Ordering::Relaxed);
            self.http2
                .store(version == Version::HTTP_2, Ordering::Relaxed);
        }
        UnderWay(self.clone())
    }

    pub(super) fn is_serving_http1(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0 && !self.http2.load(Ordering::Relaxed)
    }

    /// Whether the connection has not seen a request yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Says once that the connection is to be closed.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }

    /// When the connection has lasted too long, as things are now, if a request's headers may take
    /// so long and a wait for the next request so long.
    pub(super) fn limit(&self, header: Duration, idle: Duration) -> Option<Instant> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        if self.head_begun.load(Ordering::Relaxed) {
            self.head_begun.store(false, Ordering::Relaxed);
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
        let head = self.head_since.load(Ordering::Relaxed);
        let (since, limit) = if stuck > 0 {
            (stuck, idle)
        } else if self.under_way.load(Ordering::Acquire) > 0 {
            return None;
        } else if head > 0 {
            (head, header)
        } else {
            (self.idle_since.load(Ordering::Relaxed), idle)
        };
        Some(self.epoch + Duration::from_nanos(since) + limit)
    }
}

/// A request under way on a connection, until its response's body is dropped.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        // Whoever sees no request any more sees since when.
        self.0.under_way.fetch_sub(1, Ordering::Release);
    }
}
