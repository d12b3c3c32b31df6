//! Records reads, writes and requests of a connection, from several threads.
//!
//! The atomics are the parent's: tests/models has this file with loom's, which try every order.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Version;

use super::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What a client has to take, in bytes, for the time that an answer may wait to begin anew. With a byte now and then it
/// would have no end.
const PROGRESS: u64 = 16 * 1024;

/// Which of a connection's limits comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeLimit {
    /// The headers of a request have to be there.
    Head,
    /// The next request has to be there.
    Idle,
    /// The client has to have taken some of its answer.
    Send,
}

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) send: Duration,
    /// How long a connection is left to wait for its client before it may have to make room for another.
    pub(super) grace: Duration,
}

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
    /// The bytes that it has taken since.
    taken: AtomicU64,
    /// Requests under way that wait for the client: for more of their bodies, or for room to answer; and since when the last one does.
    waiting: AtomicU32,
    waiting_since: AtomicU64,
    /// The last answer came before all of its request had been read.
    unread: AtomicBool,
    /// It does not speak HTTP, and that has been logged.
    foreign: AtomicBool,
    /// Another connection needs the place of this one.
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
        // For 584 years.
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// Notes that something has come from the client.
    pub(super) fn received(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0
            // What nobody is going to read begins no request.
            && !self.unread.load(Ordering::Relaxed)
            && self.head_since.load(Ordering::Relaxed) == 0
            // Pings and window updates are not requests: HTTP/2 has its own keep-alive.
            && !self.http2.load(Ordering::Relaxed)
        {
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Notes how much the client takes of what is sent, in bytes. Returns whether it has not taken everything, now or before.
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

    /// Whether an answer waits for its client, though its request is over: what is left of it is in the connection.
    pub(super) fn has_answer_left(&self) -> bool {
        self.stuck_since.load(Ordering::Relaxed) > 0
            && self.under_way.load(Ordering::Relaxed) == 0
            && !self.ended.load(Ordering::Relaxed)
    }

    /// Notes that HTTP has ended. The socket may live on, as a WebSocket's.
    pub(super) fn set_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn begin_to_wait(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.stuck_since.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the client may still be sending what nobody is going to read.
    pub(super) fn may_be_sending(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.head_begun.load(Ordering::Relaxed)
    }

    /// Notes that the client speaks something else than HTTP.
    pub(super) fn set_foreign(&self) {
        self.foreign.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Requests that the connection closes, for another.
    pub(super) fn make_room(&self) {
        self.make_room.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_to_make_room(&self) -> bool {
        self.make_room.load(Ordering::Relaxed)
    }

    /// Since when the connection has waited for a request. None while it has one, or begins to have one.
    pub(super) fn idle_since(&self, now: Instant, grace: Duration) -> Option<Instant> {
        if self.under_way.load(Ordering::Acquire) > 0 || self.may_be_sending() {
            return None;
        }
        let head = self.head_since.load(Ordering::Relaxed);
        let idle = self.idle_since.load(Ordering::Relaxed);
        // Who has just connected is about to ask.
        let since = self.epoch + Duration::from_nanos(idle);
        (head == 0 || (self.is_fresh() && now > since + grace)).then_some(since)
    }

    /// Since when the connection has waited for its client within its requests: for the rest of a head or of a body, or for the
    /// client to take some of an answer. None for one that has only just begun to.
    pub(super) fn waits_since(&self, now: Instant, grace: Duration) -> Option<Instant> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        let under_way = self.under_way.load(Ordering::Acquire);
        let since = match under_way {
            _ if stuck > 0 => stuck,
            // Its answer came before the end of its body, which is waited for.
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

    pub(super) fn is_serving_http1(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0 && !self.http2.load(Ordering::Relaxed)
    }

    /// Whether the connection has not seen a request yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// When the connection has lasted too long, as things are now, and by which limit.
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

/// A request under way on a connection, until its response's body is dropped.
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    waits: bool,
}

impl UnderWay {
    /// Notes that its answer has come before all of it was read.
    pub(super) fn leave_unread(&self) {
        self.activity.unread.store(true, Ordering::Relaxed);
    }

    /// Notes whether it waits for the client from now on.
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
        // A thread that sees no request any more also sees since when.
        activity.under_way.fetch_sub(1, Ordering::Release);
    }
}
