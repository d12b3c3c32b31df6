//! The byte stream of a connection: TCP or a Unix socket.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection's stream. This is not a type parameter, so that the code for connections, which is large, is compiled
/// only once.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls a method on the stream, whichever kind it is.
macro_rules! on_stream {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($stream) => $call,
            Transport::Unix($stream) => $call,
        }
    };
}

impl Transport {
    /// Ready once there is something to read: whether the peer has closed its side.
    pub(super) fn poll_closed(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [0];
                let peeked = ready!(stream.poll_peek(context, &mut ReadBuf::new(&mut byte)))?;
                Poll::Ready(Ok(peeked == 0))
            }
            // tokio cannot peek into a Unix socket.
            Self::Unix(stream) => {
                ready!(stream.poll_read_ready(context))?;
                let ready = pin!(stream.ready(Interest::READABLE));
                let ready = ready!(ready.poll(&mut Context::from_waker(Waker::noop())))?;
                Poll::Ready(Ok(ready.is_read_closed()))
            }
        }
    }

    pub(super) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read_ready(context))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        on_stream!(self, stream => stream.try_read(buffer))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(&mut *self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(&mut *self, stream => Pin::new(stream).poll_write(context, data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(&mut *self, stream => Pin::new(stream).poll_write_vectored(context, data))
    }

    fn is_write_vectored(&self) -> bool {
        on_stream!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut *self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut *self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
