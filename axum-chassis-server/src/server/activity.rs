//! Records reads, writes and requests of a connection, from several threads.
//!
//! The atomics come from the parent module: tests/models includes this file with loom's atomics, which test every
//! order.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Version;

use super::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The number of bytes that a client has to read to restart the send timeout. Otherwise a client that reads one byte
/// at a time would never reach the timeout.
const PROGRESS: u64 = 16 * 1024;

/// The next time limit of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeLimit {
    /// The headers of a request have to be complete.
    Head,
    /// The next request has to begin.
    Idle,
    /// The client has to have read more of its response.
    Send,
}

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) send: Duration,
    /// The time a connection waits for its client before it can be closed for a new connection.
    pub(super) grace: Duration,
}

/// The state of a connection that its time limits depend on.
pub(super) struct Activity {
    epoch: Instant,
    /// The number of requests whose responses hyper has not received completely.
    under_way: AtomicU32,
    /// Data has arrived since the last request. The time is not recorded yet: most requests arrive in one piece, and
    /// then it is not needed.
    head_begun: AtomicBool,
    /// The time at which the client began to send the headers of the next request, or connected; 0 for neither. The
    /// time is in nanoseconds after `epoch`, as in `idle_since`.
    head_since: AtomicU64,
    idle_since: AtomicU64,
    /// The time since which the client has not read pending data; 0 if it reads.
    stuck_since: AtomicU64,
    /// The bytes that the client has read since then.
    taken: AtomicU64,
    /// The number of requests in flight that wait for the client (for the rest of a body, or for room to send), and
    /// the time since which the last of them waits.
    waiting: AtomicU32,
    waiting_since: AtomicU64,
    /// The response over HTTP/1 does not wait for the service: its body has returned data, and hyper takes more as soon
    /// as its buffer has room.
    has_data: AtomicBool,
    /// The last response began before its request had been read completely.
    unread: AtomicBool,
    /// The client does not speak HTTP, and this has been logged.
    foreign: AtomicBool,
    /// Another connection needs this connection's slot.
    make_room: AtomicBool,
    fresh: AtomicBool,
    ended: AtomicBool,
    http2: AtomicBool,
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
            taken: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            waiting_since: AtomicU64::new(0),
            has_data: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            make_room: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            http2: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        let elapsed = self.epoch.elapsed();
        // Sufficient for 584 years.
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// Records that data has arrived from the client.
    pub(super) fn received(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0
            // Data that will not be read does not begin a request.
            && !self.unread.load(Ordering::Relaxed)
            && self.head_since.load(Ordering::Relaxed) == 0
            // Pings and window updates are not requests: HTTP/2 has its own keep-alive.
            && !self.http2.load(Ordering::Relaxed)
        {
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Records how many bytes the client has read. Returns whether some sent data is still unread.
    pub(super) fn sent<E>(&self, length: usize, progress: &Poll<Result<usize, E>>) -> bool {
        if self.stuck_since.load(Ordering::Relaxed) == 0 {
            if progress.is_pending() {
                self.begin_to_wait();
                return true;
            }
            return false;
        }
        match progress {
            Poll::Pending => {}
            Poll::Ready(Ok(taken)) if *taken < length => {
                let taken = self.taken.load(Ordering::Relaxed) + *taken as u64;
                self.taken.store(taken, Ordering::Relaxed);
                if taken >= PROGRESS {
                    self.begin_to_wait();
                }
            }
            Poll::Ready(_) => self.stuck_since.store(0, Ordering::Relaxed),
        }
        true
    }

    /// Whether a response waits for its client although its request has ended: the rest of the response is in the
    /// connection's buffer.
    pub(super) fn has_answer_left(&self) -> bool {
        self.stuck_since.load(Ordering::Relaxed) > 0
            && self.under_way.load(Ordering::Relaxed) == 0
            && !self.ended.load(Ordering::Relaxed)
    }

    /// Records that HTTP has ended. The socket may stay open, as a WebSocket.
    pub(super) fn set_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn begin_to_wait(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.stuck_since.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the client may still be sending data that will not be read.
    pub(super) fn may_be_sending(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.head_begun.load(Ordering::Relaxed)
    }

    /// Records that the client does not speak HTTP.
    pub(super) fn set_foreign(&self) {
        self.foreign.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Marks this connection to be closed, so that its slot becomes free.
    pub(super) fn make_room(&self) {
        self.make_room.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_to_make_room(&self) -> bool {
        self.make_room.load(Ordering::Relaxed)
    }

    /// The time since which the connection has been idle. `None` while it has a request, or while one begins to
    /// arrive.
    pub(super) fn idle_since(&self, now: Instant, grace: Duration) -> Option<Instant> {
        if self.under_way.load(Ordering::Acquire) > 0 || self.may_be_sending() {
            return None;
        }
        let head = self.head_since.load(Ordering::Relaxed);
        let idle = self.idle_since.load(Ordering::Relaxed);
        // A new client is about to send its request, so it counts as idle only after `grace`.
        let since = self.epoch + Duration::from_nanos(idle);
        (head == 0 || (self.is_fresh() && now > since + grace)).then_some(since)
    }

    /// The time since which the connection has waited for its client within a request: for the rest of a head or a
    /// body, or until the client reads more of a response. `None` if the wait has only just begun.
    pub(super) fn waits_since(&self, now: Instant, grace: Duration) -> Option<Instant> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        let under_way = self.under_way.load(Ordering::Acquire);
        let since = match under_way {
            _ if stuck > 0 => stuck,
            // The response came before the end of the request's body, which is still awaited.
            0 if self.unread.load(Ordering::Relaxed) => self.idle_since.load(Ordering::Relaxed),
            0 => self.head_since.load(Ordering::Relaxed),
            all if self.waiting.load(Ordering::Relaxed) >= all => {
                self.waiting_since.load(Ordering::Relaxed)
            }
            _ => return None,
        };
        let at = self.epoch + Duration::from_nanos(since);
        (since > 0 && now > at + grace).then_some(at)
    }

    pub(super) fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.head_begun.store(false, Ordering::Relaxed);
        self.has_data.store(false, Ordering::Relaxed);
        if self.fresh.load(Ordering::Relaxed) {
            self.fresh.store(false, Ordering::Relaxed);
            self.http2
                .store(version == Version::HTTP_2, Ordering::Relaxed);
        }
        UnderWay {
            activity: self.clone(),
            waits: false,
        }
    }

    /// Whether a client over HTTP/1 waits for the service: for the response, or for more of its body.
    ///
    /// A client that has closed its sending side still gets a response that does not wait. If it has disconnected,
    /// writing fails.
    pub(super) fn awaits_service(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
            && !self.http2.load(Ordering::Relaxed)
            && !self.has_data.load(Ordering::Relaxed)
    }

    /// Whether the connection has not seen a request yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// The time at which the connection reaches its next time limit, and that limit.
    pub(super) fn limit(&self, limits: &TimeLimits) -> Option<(TimeLimit, Instant)> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        if self.head_begun.load(Ordering::Relaxed) {
            self.head_begun.store(false, Ordering::Relaxed);
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
        let head = self.head_since.load(Ordering::Relaxed);
        let (kind, since, limit) = if stuck > 0 {
            (TimeLimit::Send, stuck, limits.send)
        } else if self.under_way.load(Ordering::Acquire) > 0 {
            return None;
        } else if head > 0 {
            (TimeLimit::Head, head, limits.header)
        } else {
            let idle = self.idle_since.load(Ordering::Relaxed);
            (TimeLimit::Idle, idle, limits.idle)
        };
        Some((kind, self.epoch + (Duration::from_nanos(since) + limit)))
    }
}

/// A request in flight on a connection, until its response's body is dropped.
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    waits: bool,
}

impl UnderWay {
    /// Records that the response came before the request was read completely.
    pub(super) fn leave_unread(&self) {
        self.activity.unread.store(true, Ordering::Relaxed);
    }

    /// Records whether the last poll of the response's body returned data. Used for HTTP/1 only.
    pub(super) fn set_has_data(&self, has_data: bool) {
        self.activity.has_data.store(has_data, Ordering::Relaxed);
    }

    /// Records whether the request waits for the client from this time on.
    pub(super) fn set_waits(&mut self, waits: bool) {
        if waits == self.waits {
            return;
        }
        self.waits = waits;
        let activity = &self.activity;
        if waits {
            let now = activity.now();
            activity.waiting_since.store(now, Ordering::Relaxed);
            activity.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            activity.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.waits {
            self.set_waits(false);
        }
        let activity = &self.activity;
        activity.idle_since.store(activity.now(), Ordering::Relaxed);
        // `Release`, so that a thread that reads a count of zero also reads the matching time.
        activity.under_way.fetch_sub(1, Ordering::Release);
    }
}
