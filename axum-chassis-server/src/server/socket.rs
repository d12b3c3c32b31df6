//! A connection's socket, which records reads and writes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::ListenerState;
use super::activity::Activity;
use super::refusal::RefusalKind;
use super::transport::{self, Transport};

/// The time for which data that will not be read is received and discarded, so that the client gets its response.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The socket, which records when data arrives and when nothing can be sent.
pub(super) struct Socket<Slot> {
    stream: Transport,
    server: Arc<ListenerState>,
    activity: Arc<Activity>,
    peer: SocketAddr,
    /// Nothing has been read yet.
    is_new: bool,
    linger: Option<Pin<Box<Sleep>>>,
    /// A response that its client has not read counts as a request in flight, although the request itself has ended.
    answer_left: bool,
    _slot: Slot,
}

impl<Slot> Socket<Slot> {
    /// `slot` is held for as long as the socket is open, even if the socket becomes a WebSocket.
    pub(super) fn new(
        server: Arc<ListenerState>,
        stream: Transport,
        activity: Arc<Activity>,
        peer: SocketAddr,
        slot: Slot,
    ) -> Self {
        server.events.connection_opened();
        Self {
            stream,
            server,
            activity,
            peer,
            is_new: true,
            linger: None,
            answer_left: false,
            _slot: slot,
        }
    }

    #[cold]
    fn note_left(&mut self) {
        let is_left = self.activity.has_answer_left();
        if is_left != self.answer_left {
            self.answer_left = is_left;
            self.server.events.response_left(is_left);
        }
    }

    /// Checks whether the client speaks a version of HTTP that this listener serves.
    fn begin(&mut self, first: &[u8]) -> io::Result<()> {
        self.is_new = false;
        let no_http2 = self.server.is_for_probes && first.starts_with(b"PRI ");
        let kind = RefusalKind::of_first_bytes(first).or(no_http2.then_some(RefusalKind::NoHttp2));
        if let Some(kind) = kind {
            self.activity.set_foreign();
            self.server.refusals.note(kind, self.peer, None);
        }
        match no_http2 {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => Ok(()),
        }
    }
}

impl<Slot> Drop for Socket<Slot> {
    fn drop(&mut self) {
        if self.answer_left {
            self.server.events.response_left(false);
        }
        self.server.events.connection_closed();
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
            if self.is_new {
                self.begin(&buffer.filled()[before..])?;
            }
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
        if self.activity.sent(data.len(), &progress) {
            self.note_left();
        }
        progress
    }

    /// HTTP/2 only: responses of HTTP/1 are written from one buffer.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = data.iter().map(|part| part.len()).sum();
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, data);
        if self.activity.sent(length, &progress) {
            self.note_left();
        }
        progress
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes at the end of each poll. If a client waits for the service at that time, it may disconnect before
    /// the response; the check here notices that.
    ///
    /// hyper's own check would read as soon as there is a request, with a new buffer each time.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.awaits_service()
            && let Poll::Ready(true) = transport::poll_closed(&self.stream, context)?
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes the write side, and reads on for a while if the client may still be sending. Closing a socket with
    /// unread data resets the connection, and the client loses the part of the response that it has not read ([RFC
    /// 9112, 9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if !self.activity.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        loop {
            let linger = self.linger.as_mut();
            if linger.is_none_or(|linger| linger.as_mut().poll(context).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            match ready!(transport::poll_discard(&self.stream, context)) {
                Ok(read) if read > 0 => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
