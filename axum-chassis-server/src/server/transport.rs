//! The byte stream of a connection: TCP or a Unix socket.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// A connection's stream. This is not a type parameter, so that the code for connections, which is large, is compiled
/// only once.
pub(super) type Transport = Either<TcpStream, UnixStream>;

/// Reads up to 8 KiB and discards them. A second call of `poll_read` beside hyper's would cost each request 54 instructions,
/// because the compiler would no longer inline it.
pub(super) fn poll_discard(
    transport: &Transport,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut unread = [0; 8 * 1024];
    loop {
        let read = match transport {
            Either::Left(tcp) => {
                ready!(tcp.poll_read_ready(context))?;
                tcp.try_read(&mut unread)
            }
            Either::Right(unix) => {
                ready!(unix.poll_read_ready(context))?;
                unix.try_read(&mut unread)
            }
        };
        match read {
            // The socket was not readable after all, which clears its readiness.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read),
        }
    }
}

/// Ready once there is something to read: whether the peer has closed its side.
pub(super) fn poll_closed(
    transport: &Transport,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    match transport {
        Either::Left(tcp) => {
            let mut byte = [0];
            let peeked = ready!(tcp.poll_peek(context, &mut ReadBuf::new(&mut byte)))?;
            Poll::Ready(Ok(peeked == 0))
        }
        // tokio cannot peek into a Unix socket.
        Either::Right(unix) => {
            ready!(unix.poll_read_ready(context))?;
            let ready = pin!(unix.ready(Interest::READABLE));
            let ready = ready!(ready.poll(&mut Context::from_waker(Waker::noop())))?;
            Poll::Ready(Ok(ready.is_read_closed()))
        }
    }
}
