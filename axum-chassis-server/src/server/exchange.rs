//! One request and its response, between hyper and the router.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{Extensions, HeaderValue, Request, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service as _;

use super::activity::{Activity, UnderWay};
use super::leftover::Leftover;
use super::stream::Wait;
use super::{ListenerState, host};
use crate::chunks::{self, Chunks};
use crate::upload::Upload;

/// The extensions of each request of a connection.
///
/// The map and its clones have capacity for the extensions that axum adds. Without this capacity, the map of each
/// request would have to grow, which takes 383 instructions.
fn extensions(peer: SocketAddr) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(ConnectInfo(peer));
    extensions.insert(ReservedSlot::<1>);
    extensions.insert(ReservedSlot::<2>);
    extensions.insert(ReservedSlot::<3>);
    extensions.remove::<ReservedSlot<1>>();
    extensions.remove::<ReservedSlot<2>>();
    extensions.remove::<ReservedSlot<3>>();
    extensions
}

/// A placeholder that reserves capacity in a map until it is removed.
#[derive(Clone)]
struct ReservedSlot<const PLACE: usize>;

/// The router as a hyper service.
pub(super) struct RouterService {
    server: Arc<ListenerState>,
    activity: Arc<Activity>,
    extensions: Extensions,
}

impl RouterService {
    /// Creates the service of a connection from `peer`.
    pub(super) fn new(
        server: Arc<ListenerState>,
        activity: Arc<Activity>,
        peer: SocketAddr,
    ) -> Self {
        Self {
            server,
            activity,
            extensions: extensions(peer),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for RouterService {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, mut request: Request<Incoming>) -> Responding {
        let version = request.version();
        let under_way = self.activity.begin(version);
        let own = std::mem::replace(request.extensions_mut(), self.extensions.clone());
        request.extensions_mut().extend(own);
        let router = match host::has_valid_host(&request) {
            true => &self.server.router,
            false => &self.server.invalid_host,
        };
        let has_body = !request.body().is_end_stream();
        let mut request = request.map(|body| match has_body {
            true => Body::new(body),
            false => Body::empty(),
        });
        let is_http2 = version >= Version::HTTP_2;
        let mut leftover = None;
        let upload = match has_body {
            true => Upload::watch(&mut request),
            false => None,
        };
        // Only on HTTP/1 does an unread body block the next request.
        if let Some(upload) = &upload
            && !is_http2
        {
            let is_asked_for = request.headers().contains_key(header::EXPECT);
            leftover = Some(Box::new(Leftover::new(upload.clone(), is_asked_for)));
        }
        Responding {
            response: router.clone().call(request),
            upload,
            received: 0,
            leftover,
            under_way: Some(under_way),
            is_http2,
        }
    }
}

pin_project! {
    /// The future of a response.
    pub(super) struct Responding {
        #[pin]
        response: RouteFuture<Infallible>,
        upload: Option<Upload>,
        received: u64,
        leftover: Option<Box<Leftover>>,
        under_way: Option<UnderWay>,
        is_http2: bool,
    }
}

impl Future for Responding {
    type Output = Result<Response<Tracked>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let is_answered = this
            .leftover
            .as_ref()
            .is_some_and(|leftover| leftover.is_answered());
        let answer = match is_answered {
            true => None,
            false => {
                let polled = this.response.poll(context);
                if let (Some(upload), Some(under_way)) = (&*this.upload, this.under_way.as_mut()) {
                    // The wait restarts with each chunk.
                    let received = upload.received();
                    if std::mem::replace(this.received, received) != received {
                        under_way.set_waits(false);
                    }
                    under_way.set_waits(polled.is_pending() && upload.is_starved());
                }
                let Ok(answer) = ready!(polled);
                Some(answer)
            }
        };
        let answer = match this.leftover {
            None => answer.unwrap_or_default(),
            Some(leftover) => {
                if let Some(answer) = answer {
                    leftover.answer(answer);
                }
                let polled = leftover.poll(context);
                if let Some(under_way) = this.under_way.as_mut() {
                    under_way.set_waits(polled.is_pending());
                }
                let (mut answer, is_read) = ready!(polled);
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
        let pieces = match this.is_http2 {
            true => Wait::current().map(|wait| Pieces::new(Some(wait))),
            false => None,
        };
        let mut tracked = answer.map(|body| Tracked {
            body,
            pieces,
            under_way: this.under_way.take(),
        });
        tracked.body_mut().set_waits(true);
        Poll::Ready(Ok(tracked))
    }
}

/// A response's body that keeps its request in flight.
pub(super) struct Tracked {
    body: Body,
    pieces: Option<Box<Pieces>>,
    under_way: Option<UnderWay>,
}

/// Passes a body to hyper in chunks. Over HTTP/1, only a body with a large frame has `Pieces`.
///
/// - Over HTTP/1, hyper copies each chunk into the buffer of the connection.
/// - Over HTTP/2, hyper polls for the next chunk once the client's window has room for it. A body that is passed at once would wait in
///   hyper's buffer, where no timeout applies.
struct Pieces {
    chunks: Chunks,
    /// The wait of an HTTP/2 stream.
    wait: Option<Wait>,
}

impl Pieces {
    fn new(wait: Option<Wait>) -> Box<Self> {
        Box::new(Self {
            chunks: Chunks::default(),
            wait,
        })
    }
}

impl Tracked {
    /// Records whether an HTTP/2 stream waits for its client from this time on.
    fn set_waits(&mut self, waits: bool) {
        let Some(wait) = self.pieces.as_ref().and_then(|pieces| pieces.wait.as_ref()) else {
            return;
        };
        match waits {
            true => wait.begin(),
            false => wait.end(),
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.set_waits(waits);
        }
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
        this.set_waits(false);
        let longest = match this.pieces.as_deref() {
            Some(Pieces { wait: Some(_), .. }) => chunks::HTTP2,
            _ => chunks::HTTP1,
        };
        let rest = this.pieces.as_mut();
        let frame = match rest.and_then(|pieces| pieces.chunks.next(longest)) {
            Some(piece) => Some(Ok(piece)),
            None => {
                let polled = Pin::new(&mut this.body).poll_frame(context);
                if let Some(under_way) = &this.under_way {
                    under_way.set_has_data(polled.is_ready());
                }
                ready!(polled)
            }
        };
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        if this.pieces.is_none() && length <= longest {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.set_waits(true);
        let may_be_last = this.body.size_hint().exact().is_none_or(|left| left == 0);
        let pieces = this.pieces.get_or_insert_with(|| Pieces::new(None));
        let frame = match length > longest {
            true => pieces.chunks.split(frame, longest),
            false => frame,
        };
        Poll::Ready(Some(Ok(match may_be_last && pieces.wait.is_some() {
            true => pieces.chunks.keep_end(frame),
            false => frame,
        })))
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn hyper_gets_a_large_response_over_http_1_in_chunks() {
        let mut tracked = Tracked {
            body: Body::from(vec![0; 3 * chunks::HTTP1 - 1]),
            pieces: None,
            under_way: None,
        };
        let mut context = Context::from_waker(Waker::noop());
        for (length, is_last) in [
            (chunks::HTTP1, false),
            (chunks::HTTP1, false),
            (chunks::HTTP1 - 1, true),
        ] {
            let polled = Pin::new(&mut tracked).poll_frame(&mut context);
            let Poll::Ready(Some(Ok(frame))) = polled else {
                panic!("{polled:?}");
            };
            assert_eq!(frame.data_ref().map(Bytes::len), Some(length));
            assert_eq!(tracked.is_end_stream(), is_last);
        }
    }
}
