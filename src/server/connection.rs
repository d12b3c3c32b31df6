//! Drives one connection: timeouts and graceful close.
//!
//! Time is kept for the whole connection rather than by a timer for each request: the task wakes
//! at most once a time limit, looks at what has happened meanwhile, and sleeps again.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use super::Server;
use super::activity::{Activity, TimeLimit};
use super::exchange::RouterService;
use super::refusal::RefusalKind;
use super::socket::{LINGER, Socket};
use crate::shutdown::Phase;

/// How long an idle connection stays open after its GOAWAY.
const GOING: Duration = Duration::from_secs(1);
/// The same while another waits for its place: enough within a data centre.
const GOING_FOR_ANOTHER: Duration = Duration::from_millis(10);
/// How long a client that connected just before the stop is given to send its request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection that is about to be served.
pub(super) struct Connection<Slot> {
    server: Arc<Server>,
    socket: Socket<Slot>,
    activity: Arc<Activity>,
    peer: SocketAddr,
}

impl<Slot: Send + Unpin + 'static> Connection<Slot> {
    /// `slot` is held for as long as the socket is open, even if a WebSocket takes it over.
    pub(super) fn new(
        server: Arc<Server>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Slot,
    ) -> Self {
        let activity = Arc::new(Activity::new());
        Self {
            socket: Socket::new(server.clone(), stream, activity.clone(), peer, slot),
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
            activity,
            peer,
        } = self;
        let service = RouterService::new(server.clone(), activity.clone(), peer);
        let protocol = server
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut protocol = pin!(protocol);
        // Outside tokio's budget: a poll that it puts off has not looked.
        let mut stop = pin!(unconstrained(server.shutdown.reached(Phase::Abort)));
        let mut noted = None;
        let mut entry = None;
        let mut closing = None;
        // Since when the client knows that the connection ends.
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
                    // Who has connected but not yet asked is heard first.
                    Some(since) if activity.is_fresh() && since.elapsed() < LAST_CALL => {
                        timer.bring_forward(since + LAST_CALL);
                        false
                    }
                    Some(_) => true,
                    None => activity.has_to_make_room(),
                };
                // Within a request there is nothing to wait for: its client is what it waits for.
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
                // Told to leave: the moment is for requests of HTTP/2 that crossed the GOAWAY.
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
                    // A client of HTTP/2 that hears of it sends nothing more, instead of into a closed socket.
                    Some((TimeLimit::Idle, _)) if leaving.is_none() => {
                        leaving = Some(now);
                        protocol.as_mut().graceful_shutdown();
                    }
                    Some((limit, _)) => {
                        if limit == TimeLimit::Send {
                            server.http.send_timeouts.inc();
                        }
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        })
        .await;
        activity.set_ended();
        // Else its end is the client's affair: its requests have been accounted for.
        if let Err(error) = ended
            && !activity.is_foreign()
            && let Some(kind) = RefusalKind::of_error(&*error)
        {
            server.refusals.note(kind, peer, Some(&*error));
        }
    }
}

/// A waker that notes its wake-up. It distinguishes a future that has to be polled again from one that is still waiting:
/// a connection wakes for each request, and what is rarely ready need not be asked each time. The phase of the stop, though
/// all have it in common, cannot say that instead: it is there a moment before its wake-up.
struct NotedWake {
    woken: AtomicBool,
    task: Waker,
}

impl NotedWake {
    /// Woken already, so that its future is polled for the first time.
    fn of(task: &Waker) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(true),
            task: task.clone(),
        })
    }

    /// Whether it was woken since it was last asked.
    fn take(&self) -> bool {
        // Nobody else takes it, and a load is cheaper than a swap.
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
    /// It will wake the task. Asked again at each wake-up, the timer would only repeat itself.
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
