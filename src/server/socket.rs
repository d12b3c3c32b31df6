//! A connection's socket, which notes what passes through it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use crate::metrics::http::Http;

/// Responses up to this length, in bytes, are written in one piece.
const SMALL: usize = 1024;

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
