//! One connection: its time limits, and its way out.
//!
//! Time is kept for the whole connection rather than by a timer for each request: the task wakes
//! at most once a time limit, looks at what has happened meanwhile, and sleeps again.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{Request, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant as TokioInstant, sleep_until};
use tower::Service as _;

use super::Server;
use crate::metrics::http::Http;
use crate::shutdown::Phase;

/// How long a client that connected just before the stop is given to send its request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Responses up to this length, in bytes, are written in one piece.
const SMALL: usize = 1024;

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
        server.http.connections.inc();
        server.http.connections_total.inc();
        let activity = Arc::new(Activity::new());
        let socket = Socket {
            stream,
            activity: activity.clone(),
            _open: Open(server.http.clone()),
            _slot: slot,
        };
        Self {
            server,
            socket,
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
            router: server.router.clone(),
            activity: activity.clone(),
            peer,
        };
        let protocol = server
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut protocol = pin!(protocol);
        let mut stop = pin!(server.shutdown.reached(Phase::Closing));
        let mut cut = pin!(server.shutdown.reached(Phase::Cut));
        let mut alarm = pin!(sleep_until(TokioInstant::now() + server.header_timeout));
        let mut closing = None;

        std::future::poll_fn(|context| {
            // Asked each time: a poll that tokio's budget puts off has not looked, and tells nobody.
            if cut.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if closing.is_none() && stop.as_mut().poll(context).is_ready() {
                closing = Some(Instant::now());
            }
            loop {
                // What ends a connection is the client's affair: its requests have been accounted for.
                if protocol.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let closed = match closing {
                    // Who has connected but not yet asked is heard first.
                    Some(since) if activity.is_fresh() && since.elapsed() < LAST_CALL => {
                        wake_by(alarm.as_mut(), since + LAST_CALL);
                        false
                    }
                    Some(_) => activity.close(),
                    None => false,
                };
                if closed {
                    protocol.as_mut().graceful_shutdown();
                    continue;
                }
                let limit = activity.limit(&server);
                if let Some(limit) = limit {
                    wake_by(alarm.as_mut(), limit);
                }
                ready!(alarm.as_mut().poll(context));
                let now = Instant::now();
                let next = limit.unwrap_or(now + server.header_timeout);
                if next <= now {
                    return Poll::Ready(());
                }
                alarm.as_mut().reset(next.into());
            }
        })
        .await;
    }
}

/// Brings the alarm forward if it is set too late; one that rings early does no harm.
fn wake_by(alarm: Pin<&mut tokio::time::Sleep>, limit: Instant) {
    if alarm.deadline() > limit.into() {
        alarm.reset(limit.into());
    }
}

/// What happens on a connection, as far as its time limits depend on it.
struct Activity {
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
    fn new() -> Self {
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

    fn received(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
            // Pings and window updates are not requests: HTTP/2 has its own keep-alive.
            && !self.http2.load(Ordering::Relaxed)
        {
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }

    fn sent<T>(&self, progress: &Poll<T>) {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        match progress {
            Poll::Pending if stuck == 0 => self.stuck_since.store(self.now(), Ordering::Relaxed),
            Poll::Ready(_) if stuck > 0 => self.stuck_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
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

    /// Whether the connection has not seen a request yet.
    fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Says once that the connection is to be closed.
    fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }

    /// When the connection has lasted too long, as things are now.
    fn limit(&self, server: &Server) -> Option<Instant> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        if self.head_begun.load(Ordering::Relaxed) {
            self.head_begun.store(false, Ordering::Relaxed);
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
        let head = self.head_since.load(Ordering::Relaxed);
        let (since, limit) = if stuck > 0 {
            (stuck, server.idle_timeout)
        } else if self.under_way.load(Ordering::Relaxed) > 0 {
            return None;
        } else if head > 0 {
            (head, server.header_timeout)
        } else {
            (self.idle_since.load(Ordering::Relaxed), server.idle_timeout)
        };
        Some(self.epoch + Duration::from_nanos(since) + limit)
    }
}

/// A request under way on a connection, until its response's body is dropped.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The router, as hyper wants it.
struct Requests {
    router: Router,
    activity: Arc<Activity>,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Attended>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, mut request: Request<Incoming>) -> Responding {
        let under_way = self.activity.begin(request.version());
        request.extensions_mut().insert(ConnectInfo(self.peer));
        Responding {
            response: self.router.clone().call(request),
            under_way: Some(under_way),
        }
    }
}

pin_project! {
    struct Responding {
        #[pin]
        response: RouteFuture<Infallible>,
        under_way: Option<UnderWay>,
    }
}

impl Future for Responding {
    type Output = Result<Response<Attended>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.response.poll(context));
        let under_way = this.under_way.take();
        Poll::Ready(Ok(response.map(|body| Attended {
            body,
            _under_way: under_way,
        })))
    }
}

/// A response's body that keeps its request under way.
struct Attended {
    body: Body,
    _under_way: Option<UnderWay>,
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The socket, which tells when something arrives and when nothing can leave.
struct Socket<Slot> {
    stream: TcpStream,
    activity: Arc<Activity>,
    _open: Open,
    _slot: Slot,
}

/// Counts an open connection.
struct Open(Http);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

impl<Slot: Unpin> AsyncRead for Socket<Slot> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Slot: Unpin> AsyncWrite for Socket<Slot> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, data);
        self.activity.sent(&progress);
        progress
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = data.iter().map(|part| part.len()).sum();
        if length > SMALL {
            let progress = Pin::new(&mut self.stream).poll_write_vectored(context, data);
            self.activity.sent(&progress);
            return progress;
        }
        // Copying a small response is cheaper than having the kernel gather it.
        let mut whole = [0; SMALL];
        let mut end = 0;
        for part in data {
            whole[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        self.poll_write(context, &whole[..end])
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
