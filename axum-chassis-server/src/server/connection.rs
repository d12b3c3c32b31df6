//! Drives one connection: timeouts and graceful close.
//!
//! One timer serves the whole connection, instead of one for each request: the task wakes at most once per time
//! limit, checks the activity since then, and sleeps again.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use super::ListenerState;
use super::activity::{Activity, TimeLimit};
use super::exchange::RouterService;
use super::refusal::RefusalKind;
use super::socket::{LINGER, Socket};
use super::transport::Transport;
use crate::shutdown::Phase;

/// The time that an idle connection stays open after its GOAWAY.
const GOING: Duration = Duration::from_secs(1);
/// The same while another connection waits for the slot. This is enough time within a data center.
const GOING_FOR_ANOTHER: Duration = Duration::from_millis(10);
/// Timeout for the request of a client that connected just before the shutdown.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection that is about to be served.
pub(super) struct Connection<Slot> {
    server: Arc<ListenerState>,
    socket: Socket<Arc<Slot>>,
    slot: Arc<Slot>,
    activity: Arc<Activity>,
    peer: SocketAddr,
}

impl<Slot: Send + Sync + 'static> Connection<Slot> {
    /// `slot` is held for as long as the socket is open, even if the socket becomes a WebSocket.
    pub(super) fn new(
        server: Arc<ListenerState>,
        stream: Transport,
        peer: SocketAddr,
        slot: Slot,
    ) -> Self {
        let activity = Arc::new(Activity::new());
        let slot = Arc::new(slot);
        Self {
            socket: Socket::new(server.clone(), stream, activity.clone(), peer, slot.clone()),
            slot,
            server,
            activity,
            peer,
        }
    }

    /// Serves requests until the client, a time limit or the shutdown ends the connection.
    pub(super) async fn run(self) {
        let Self {
            server,
            socket,
            // The slot must not be free before the request in flight has been dropped, because that request still
            // counts towards the limit for the next client's request.
            slot: _slot,
            activity,
            peer,
        } = self;
        let service = RouterService::new(server.clone(), activity.clone(), peer);
        let protocol = server
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut protocol = pin!(protocol);
        // The future runs outside of tokio's cooperative budget, because a poll that the budget postpones would not
        // check the state.
        let mut stop = pin!(unconstrained(server.shutdown.reached(Phase::Abort)));
        let mut noted = None;
        let mut entry = None;
        let mut closing = None;
        // The time at which the client was notified that the connection will close.
        let mut leaving = None;
        let mut timer = Timer {
            sleep: pin!(sleep_until(TokioInstant::now() + server.limits.header)),
            is_set: false,
        };

        let ended = std::future::poll_fn(|context| {
            let noted = noted.get_or_insert_with(|| NotedWake::of(context.waker()));
            if noted.take() {
                let waker = Waker::from(noted.clone());
                let mut context = Context::from_waker(&waker);
                if stop.as_mut().poll(&mut context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if closing.is_none() && server.shutdown.phase() >= Phase::Closing {
                    closing = Some(Instant::now());
                }
                entry.get_or_insert_with(|| server.registry.enter(activity.clone(), waker.clone()));
            }
            loop {
                if let Poll::Ready(ended) = protocol.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                let has_to_leave = match closing {
                    // A client that has connected may still send its first request.
                    Some(since) if activity.is_fresh() && since.elapsed() < LAST_CALL => {
                        timer.bring_forward(since + LAST_CALL);
                        false
                    }
                    Some(_) => true,
                    None => activity.has_to_make_room(),
                };
                // If the slot is needed, a request that waits for its client is aborted.
                let waits = || activity.waits_since(Instant::now(), server.limits.grace);
                if activity.has_to_make_room() && waits().is_some() {
                    return Poll::Ready(Ok(()));
                }
                if has_to_leave && leaving.is_none() {
                    leaving = Some(Instant::now());
                    protocol.as_mut().graceful_shutdown();
                    continue;
                }
                let mut limit = activity.limit(&server.limits);
                // GOAWAY was sent. The short wait is for HTTP/2 requests that the client sent before it received the
                // GOAWAY.
                if let Some(since) = leaving
                    && let Some((TimeLimit::Idle | TimeLimit::Head, _)) = limit
                {
                    let idle = activity.idle_since(Instant::now(), server.limits.grace);
                    let going = match activity.may_be_sending() {
                        true => LINGER + GOING,
                        false if activity.has_to_make_room() => GOING_FOR_ANOTHER,
                        false => GOING,
                    };
                    limit = Some((TimeLimit::Idle, idle.unwrap_or(since).max(since) + going));
                }
                if let Some((_, ends)) = limit {
                    timer.bring_forward(ends);
                }
                if !timer.is_elapsed(context) {
                    return Poll::Pending;
                }
                let now = Instant::now();
                match limit {
                    Some((_, ends)) if ends > now => timer.set(ends),
                    None => timer.set(now + server.limits.header),
                    // Send a GOAWAY before closing: after it, an HTTP/2 client sends no more requests. Without it, a
                    // request could reach a closed socket.
                    Some((TimeLimit::Idle, _)) if leaving.is_none() => {
                        leaving = Some(now);
                        protocol.as_mut().graceful_shutdown();
                    }
                    Some((limit, _)) => {
                        if limit == TimeLimit::Send {
                            server.events.send_timed_out();
                        }
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        })
        .await;
        activity.set_ended();
        // Other errors of the connection need no log line, because its requests have been recorded.
        if let Err(error) = ended
            && !activity.is_foreign()
            && let Some(kind) = RefusalKind::of_error(&*error)
        {
            server.refusals.note(kind, peer, Some(&*error));
        }
    }
}

/// A waker that records its wake-up. A connection's task wakes for each request. With this waker, a future that is
/// rarely ready is polled only if its own waker was woken, which saves 238 instructions a request. To check the phase of
/// the shutdown instead would not do, because the phase changes a moment before the wake-up.
struct NotedWake {
    woken: AtomicBool,
    task: Waker,
}

impl NotedWake {
    /// The waker begins as woken, so that its future is polled for the first time.
    fn of(task: &Waker) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(true),
            task: task.clone(),
        })
    }

    /// Whether it was woken since the last call.
    fn take(&self) -> bool {
        // Load the flag first, which is cheaper than a swap: only this task resets it.
        self.woken.load(Ordering::Acquire) && self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for NotedWake {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// The one timer of a connection. Waking early is harmless: the task checks the time.
struct Timer<'a> {
    sleep: Pin<&'a mut Sleep>,
    /// The timer is registered to wake the task, so polling it at each wake-up is not needed: saves 121 instructions a
    /// request.
    is_set: bool,
}

impl Timer<'_> {
    fn set(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at.into());
        self.is_set = false;
    }

    fn bring_forward(&mut self, limit: Instant) {
        if self.sleep.deadline() > limit.into() {
            self.set(limit);
        }
    }

    fn is_elapsed(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_set {
            return self.sleep.is_elapsed();
        }
        self.is_set = true;
        pin!(unconstrained(self.sleep.as_mut()))
            .poll(context)
            .is_ready()
    }
}
