//! Tracks a request body: how many bytes have arrived, and whether it is complete.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};

use crate::causes::causes;
use crate::limits::Limits;

/// The state of a request body. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Upload(Arc<UploadState>);

#[derive(Debug, Default)]
struct UploadState {
    received: AtomicU64,
    /// The limits that the body's bytes count towards, once the limits are set.
    limits: OnceLock<Limits>,
    /// The memory that all chunks so far have needed.
    taken: AtomicU64,
    /// The memory that is reserved for chunks at present.
    held: AtomicU64,
    /// The request has ended.
    has_ended: AtomicBool,
    /// The body's reader waits for the client.
    is_starved: AtomicBool,
    stage: AtomicU8,
    /// Whether the unread rest will be read.
    keeps_rest: AtomicBool,
    /// The body itself, if its reader has dropped it before its end.
    rest: Mutex<Option<Body>>,
}

const ARRIVING: u8 = 0;
/// The body has ended, and the memory that is held at this time stays reserved until the request ends.
const COMPLETE: u8 = 1;
const BROKEN: u8 = 2;
/// The body's framing is invalid. The client is still connected, and gets the response.
const MALFORMED: u8 = 3;
/// `limits.buffered` has no room for more of the body.
const NO_ROOM: u8 = 4;

/// The memory of a chunk besides its bytes. It counts, because a client may send a body byte by byte.
const PIECE: u64 = 128;
/// Bytes of each body that do not count: most bodies are shorter, and are accepted while large ones are rejected.
const FREE: u64 = 16 * 1024;

impl Upload {
    /// Tracks the body of a request, if there is one. A second call for the same request returns the same state.
    #[inline]
    pub fn watch(request: &mut Request<Body>) -> Option<Self> {
        match request.body().is_end_stream() {
            true => None,
            false => Some(Self::of(request)),
        }
    }

    fn of(request: &mut Request<Body>) -> Self {
        if let Some(upload) = request.extensions().get::<Self>() {
            return upload.clone();
        }
        let upload = Self(Arc::default());
        let body = Some(std::mem::take(request.body_mut()));
        let watched = Watched {
            body,
            upload: upload.clone(),
        };
        *request.body_mut() = Body::new(watched);
        request.extensions_mut().insert(upload.clone());
        upload
    }

    /// Counts the bytes that are read towards `limits.buffered`. They count until they are dropped. Those that are held
    /// at the end of the body count until [`let_go`](Self::let_go).
    #[inline]
    pub fn hold_within(&self, limits: &Limits) {
        let _ = self.0.limits.set(limits.clone());
    }

    /// Records that the request has ended, and releases its memory.
    #[inline]
    pub fn let_go(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
        self.0.let_go(u64::MAX);
    }

    /// Whether the body's reader waits for the client to send more.
    pub(crate) fn is_starved(&self) -> bool {
        self.0.is_starved.load(Ordering::Relaxed)
    }

    /// Whether the body was rejected because of `limits.buffered`.
    #[inline]
    pub fn is_refused(&self) -> bool {
        self.0.stage.load(Ordering::Relaxed) == NO_ROOM
    }

    /// The number of bytes that have been read.
    #[inline]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Whether all of the body has been read.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.0.stage.load(Ordering::Relaxed) == COMPLETE
    }

    /// Whether the client aborted the body.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.0.stage.load(Ordering::Relaxed) == BROKEN
    }

    /// Keeps the unread rest for [`rest`](Self::rest). Otherwise hyper discards the rest when the reader is dropped.
    pub(crate) fn keep_rest(&self) {
        self.0.keeps_rest.store(true, Ordering::Relaxed);
    }

    /// The unread rest of the body, if the reader was dropped before the end.
    pub(crate) fn rest(&self) -> Option<Body> {
        let mut rest = self.0.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.take()
    }
}

impl UploadState {
    /// Reserves memory for data until it is dropped, if there is room.
    fn hold(self: &Arc<Self>, data: Bytes) -> Option<Bytes> {
        let bytes = data.len() as u64;
        self.received.fetch_add(bytes, Ordering::Relaxed);
        let takes = bytes + PIECE;
        let taken = self.taken.fetch_add(takes, Ordering::Relaxed) + takes;
        let limits = self.limits.get();
        let Some(limits) = limits.filter(|limits| taken > FREE && limits.buffered_limit() > 0)
        else {
            return Some(data);
        };
        if !limits.hold(takes) {
            return None;
        }
        self.held.fetch_add(takes, Ordering::Relaxed);
        Some(Bytes::from_owner(HeldBytes {
            data,
            state: self.clone(),
        }))
    }

    /// Releases up to this many of the reserved bytes.
    fn let_go(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        let (relaxed, held) = (Ordering::Relaxed, &self.held);
        let before = held
            .fetch_update(relaxed, relaxed, less)
            .unwrap_or_default();
        if let Some(limits) = self.limits.get() {
            limits.let_go(before.min(bytes));
        }
    }
}

/// A chunk of a body, with its reserved memory.
struct HeldBytes {
    data: Bytes,
    state: Arc<UploadState>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        // A reader that collects the whole body copies its chunks and drops them, so the memory is reserved until the
        // request ends. After the request has ended, dropped chunks release theirs.
        let is_kept = self.state.stage.load(Ordering::Relaxed) == COMPLETE;
        if !is_kept || self.state.has_ended.load(Ordering::Relaxed) {
            self.state.let_go(self.data.len() as u64 + PIECE);
        }
    }
}

/// The body that the service reads.
struct Watched {
    /// None once it is dropped.
    body: Option<Body>,
    upload: Upload,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(context);
        let ended = body.is_end_stream();
        let state = &self.upload.0;
        state
            .is_starved
            .store(frame.is_pending(), Ordering::Relaxed);
        let complete = ended.then_some(COMPLETE);
        let (stage, frame) = match ready!(frame) {
            Some(Ok(frame)) => match frame.into_data().map(|data| state.hold(data)) {
                Ok(Some(data)) => (complete, Some(Ok(Frame::data(data)))),
                Ok(None) => (Some(NO_ROOM), Some(Err(axum::Error::new(NoRoom)))),
                Err(other) => (complete, Some(Ok(other))),
            },
            Some(Err(error)) if is_gone(&error) => (Some(BROKEN), Some(Err(error))),
            Some(Err(error)) => (Some(MALFORMED), Some(Err(error))),
            None => (Some(COMPLETE), None),
        };
        if let Some(stage) = stage {
            state.stage.store(stage, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let state = &self.upload.0;
        if state.keeps_rest.load(Ordering::Relaxed)
            && matches!(state.stage.load(Ordering::Relaxed), ARRIVING | NO_ROOM)
        {
            let rest = &state.rest;
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

/// The error if `limits.buffered` has no room for more of a body.
#[derive(Debug)]
struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service is at limits.buffered")
    }
}

impl Error for NoRoom {}

/// Whether the client aborted a body: it closed the connection or reset the stream.
fn is_gone(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let is_gone = causes(error).find_map(|error| {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return Some(error.is_io() || error.is_remote());
        }
        let kind = error.downcast_ref::<io::Error>()?.kind();
        let kinds = [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            UnexpectedEof,
        ];
        Some(kinds.contains(&kind))
    });
    is_gone.unwrap_or_default()
}
