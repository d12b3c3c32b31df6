//! One connection: its time limits, and its way out.
//!
//! Time is kept for the whole connection rather than by a timer for each request: the task wakes
//! at most once a time limit, looks at what has happened meanwhile, and sleeps again.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{Extensions, HeaderValue, Request, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use tower::Service as _;

use super::activity::{Activity, Limit, UnderWay};
use super::leftover::Leftover;
use super::refusal::Kind;
use super::socket::Socket;
use super::stream::Wait;
use super::{Server, host};
use crate::chunks::{self, Chunks};
use crate::shutdown::Phase;
use crate::upload::Upload;

/// How long an idle connection stays open once its client has been told that it ends.
const GOING: Duration = Duration::from_secs(1);
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
        let service = Requests {
            server: server.clone(),
            activity: activity.clone(),
            extensions: extensions(peer),
        };
        let protocol = server
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut protocol = pin!(protocol);
        // Outside tokio's budget: a poll that it puts off has not looked.
        let mut stop = pin!(unconstrained(server.shutdown.reached(Phase::Cut)));
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
                if has_to_leave && leaving.is_none() {
                    leaving = Some(Instant::now());
                    protocol.as_mut().graceful_shutdown();
                    continue;
                }
                let mut limit = activity.limit(&server.limits);
                // Told to leave: the moment is for requests of HTTP/2 that crossed the GOAWAY.
                if let Some(since) = leaving
                    && let Some((Limit::Idle | Limit::Head, _)) = limit
                {
                    let idle = activity.idle_since(Instant::now());
                    limit = Some((Limit::Idle, idle.unwrap_or(since).max(since) + GOING));
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
                    Some((Limit::Idle, _)) if leaving.is_none() => {
                        leaving = Some(now);
                        protocol.as_mut().graceful_shutdown();
                    }
                    Some((limit, _)) => {
                        if limit == Limit::Send {
                            server.http.send_timeouts.inc();
                        }
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        })
        .await;
        // Else its end is the client's affair: its requests have been accounted for.
        if let Err(error) = ended
            && !activity.is_foreign()
            && let Some(kind) = Kind::of_error(&*error)
        {
            server.refusals.note(kind, peer, Some(&*error));
        }
    }
}

/// A waker that notes its wake-up. It tells a future that is to be polled again from one that is still waiting:
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

/// The one timer of a connection. Early is harmless: whoever is woken looks how late it is.
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

/// What each request of a connection comes with.
///
/// The map has room for what axum adds to a request, and its copies have, too: one that is made
/// anew for each request would have to grow on the way.
fn extensions(peer: SocketAddr) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(ConnectInfo(peer));
    extensions.insert(Room::<1>);
    extensions.insert(Room::<2>);
    extensions.insert(Room::<3>);
    extensions.remove::<Room<1>>();
    extensions.remove::<Room<2>>();
    extensions.remove::<Room<3>>();
    extensions
}

/// Takes a place in a map until it is removed.
#[derive(Clone)]
struct Room<const PLACE: usize>;

/// The router, as hyper wants it.
struct Requests {
    server: Arc<Server>,
    activity: Arc<Activity>,
    extensions: Extensions,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, mut request: Request<Incoming>) -> Responding {
        let version = request.version();
        let under_way = self.activity.begin(version);
        let own = std::mem::replace(request.extensions_mut(), self.extensions.clone());
        request.extensions_mut().extend(own);
        let router = match host::is_named(&request) {
            true => &self.server.router,
            false => &self.server.misaddressed,
        };
        let has_body = !request.body().is_end_stream();
        let mut request = request.map(|body| match has_body {
            true => Body::new(body),
            false => Body::empty(),
        });
        let is_http2 = version >= Version::HTTP_2;
        let mut leftover = None;
        if has_body
            && let Some(upload) = Upload::watch(&mut request)
            // Only on HTTP/1 is what is left unread in the way of the next request.
            && !is_http2
        {
            let is_asked_for = request.headers().contains_key(header::EXPECT);
            leftover = Some(Box::new(Leftover::new(upload, is_asked_for)));
        }
        Responding {
            response: router.clone().call(request),
            leftover,
            under_way: Some(under_way),
            is_http2,
        }
    }
}

pin_project! {
    struct Responding {
        #[pin]
        response: RouteFuture<Infallible>,
        leftover: Option<Box<Leftover>>,
        under_way: Option<UnderWay>,
        is_http2: bool,
    }
}

impl Future for Responding {
    type Output = Result<Response<Tracked>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.leftover {
            None => {
                let Ok(answer) = ready!(this.response.poll(context));
                answer
            }
            Some(leftover) => {
                if !leftover.is_answered() {
                    let Ok(answer) = ready!(this.response.poll(context));
                    leftover.answer(answer);
                }
                let (mut answer, is_read) = ready!(leftover.poll(context));
                if !is_read {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                    if let Some(under_way) = this.under_way {
                        under_way.leave_unread();
                    }
                }
                answer
            }
        };
        let under_way = this.under_way.take();
        let pieces = this.is_http2.then(Pieces::begin).flatten();
        Poll::Ready(Ok(answer.map(|body| Tracked {
            body,
            pieces,
            _under_way: under_way,
        })))
    }
}

/// A response's body that keeps its request under way.
struct Tracked {
    body: Body,
    /// Of HTTP/2.
    pieces: Option<Box<Pieces>>,
    _under_way: Option<UnderWay>,
}

/// What a stream of HTTP/2 is given bit by bit: hyper asks for the next piece once the client has room for it. What is
/// given at once waits where nobody sees it.
struct Pieces {
    chunks: Chunks,
    wait: Wait,
}

impl Pieces {
    fn begin() -> Option<Box<Self>> {
        let wait = Wait::current()?;
        wait.begin();
        Some(Box::new(Self {
            chunks: Chunks::default(),
            wait,
        }))
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let body = Pin::new(&mut this.body);
        let Some(Pieces { chunks, wait }) = this.pieces.as_deref_mut() else {
            return body.poll_frame(context);
        };
        wait.end();
        let frame = match chunks.next(chunks::HTTP2) {
            Some(piece) => Some(Ok(piece)),
            None => ready!(body.poll_frame(context))
                .map(|frame| frame.map(|frame| chunks.cut(frame, chunks::HTTP2))),
        };
        if frame.is_some() {
            wait.begin();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let pieces = self.pieces.as_deref();
        pieces.is_none_or(|pieces| pieces.chunks.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Some(pieces) => pieces.chunks.size_hint(&self.body),
            None => self.body.size_hint(),
        }
    }
}
