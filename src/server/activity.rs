//! What happens on a connection, noted where it happens: by its socket and by its requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Server;
use crate::metrics::http::Http;

/// Responses up to this length, in bytes, are written in one piece.
const SMALL: usize = 1024;

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

    fn is_serving_http1(&self) -> bool {
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

    /// When the connection has lasted too long, as things are now.
    pub(super) fn limit(&self, server: &Server) -> Option<Instant> {
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
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket, which tells when something arrives and when nothing can leave.
pub(super) struct Socket<Slot> {
    stream: TcpStream,
    activity: Arc<Activity>,
    _open: Open,
    _slot: Slot,
}

impl<Slot> Socket<Slot> {
    /// `slot` is held for as long as the socket is open, even if a WebSocket takes it over.
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, http: &Http, slot: Slot) -> Self {
        http.connections.inc();
        http.connections_total.inc();
        Self {
            stream,
            activity,
            _open: Open(http.clone()),
            _slot: slot,
        }
    }
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

    /// hyper flushes at the end of each turn. A request that is still under way then has not been
    /// answered at once, and its client may go away meanwhile: this is where that is noticed.
    ///
    /// hyper itself would look for it as soon as it has a request, with a new buffer each time.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_serving_http1() {
            let mut byte = [0];
            let peeked = self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte));
            if let Poll::Ready(0) = peeked? {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
