//! Tracks a request body: how many bytes have arrived, and whether it is complete.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};

/// What is known about the body of a request. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Upload(Arc<State>);

struct State {
    received: AtomicU64,
    stage: AtomicU8,
    /// Whether somebody reads what is left.
    keeps_rest: AtomicBool,
    /// The body itself, once its reader has dropped it before its end.
    rest: Mutex<Option<Body>>,
}

const ARRIVING: u8 = 0;
const COMPLETE: u8 = 1;
const BROKEN: u8 = 2;
/// Its framing is wrong. The client is still connected, and gets the response.
const MALFORMED: u8 = 3;

impl Upload {
    /// Watches the body of a request, if one follows. A second call for the same request returns the same.
    #[inline]
    pub(crate) fn watch(request: &mut Request<Body>) -> Option<Self> {
        match request.body().is_end_stream() {
            true => None,
            false => Some(Self::of(request)),
        }
    }

    fn of(request: &mut Request<Body>) -> Self {
        if let Some(upload) = request.extensions().get::<Self>() {
            return upload.clone();
        }
        let upload = Self(Arc::new(State {
            received: AtomicU64::new(0),
            stage: AtomicU8::new(ARRIVING),
            keeps_rest: AtomicBool::new(false),
            rest: Mutex::default(),
        }));
        let body = Some(std::mem::take(request.body_mut()));
        let watched = Watched {
            body,
            upload: upload.clone(),
        };
        *request.body_mut() = Body::new(watched);
        request.extensions_mut().insert(upload.clone());
        upload
    }

    /// How many bytes have been read.
    pub(crate) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Whether all of it has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.stage.load(Ordering::Relaxed) == COMPLETE
    }

    /// Whether the client broke it off.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.stage.load(Ordering::Relaxed) == BROKEN
    }

    /// Keeps what is not read, for [`rest`](Self::rest). Otherwise the reader's drop tells hyper that nobody wants it.
    pub(crate) fn keep_rest(&self) {
        self.0.keeps_rest.store(true, Ordering::Relaxed);
    }

    /// What has not been read, if its reader has dropped it.
    pub(crate) fn rest(&self) -> Option<Body> {
        let mut rest = self.0.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.take()
    }
}

/// The body as the service reads it.
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
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        let ended = body.is_end_stream();
        let state = &*self.upload.0;
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state
                        .received
                        .fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                if ended {
                    state.stage.store(COMPLETE, Ordering::Relaxed);
                }
            }
            Some(Err(error)) if is_gone(error) => state.stage.store(BROKEN, Ordering::Relaxed),
            Some(Err(_)) => state.stage.store(MALFORMED, Ordering::Relaxed),
            None => state.stage.store(COMPLETE, Ordering::Relaxed),
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
            && state.stage.load(Ordering::Relaxed) == ARRIVING
        {
            let rest = &state.rest;
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

/// Whether a body ended with its client: the connection did, or the client has reset the stream.
fn is_gone(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_io() || error.is_remote();
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            let kinds = [
                BrokenPipe,
                ConnectionAborted,
                ConnectionReset,
                UnexpectedEof,
            ];
            return kinds.contains(&error.kind());
        }
        next = error.source();
    }
    false
}
