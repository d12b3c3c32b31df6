//! Bodies on their way in and out, as far as an outcome depends on them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use super::record::Record;

/// Whether a request's body has arrived in full: if not, a timeout is the client's doing.
pub(super) struct Arrival(Arc<AtomicBool>);

impl Arrival {
    pub(super) fn watch(body: Body) -> (Body, Self) {
        let complete = Arc::new(AtomicBool::new(false));
        let watched = Body::new(Arriving {
            body,
            complete: complete.clone(),
        });
        (watched, Self(complete))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Arriving {
    body: Body,
    complete: Arc<AtomicBool>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.complete.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body whose end is the request's end.
pub(super) struct Departing {
    body: Body,
    record: Option<Record>,
    status: StatusCode,
    sent: u64,
}

impl Departing {
    /// Ends the record with the response, or with the response's body if that takes time.
    pub(super) fn watch(response: Response, record: Record) -> Response {
        let status = response.status();
        // A body of a known size is in memory already: nothing can happen to it any more here.
        if let Some(bytes) = response.body().size_hint().exact() {
            record.end(status, bytes);
            return response;
        }
        response.map(|body| {
            Body::new(Self {
                body,
                record: Some(record),
                status,
                sent: 0,
            })
        })
    }

    fn end(&mut self) {
        if let Some(record) = self.record.take() {
            record.end(self.status, self.sent);
        }
    }
}

impl HttpBody for Departing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context));
        // A panic in a stream breaks this response off, and nothing else.
        let frame = match catch_unwind(body) {
            Ok(frame) => ready!(frame),
            Err(_) => Some(Err(axum::Error::new(std::io::Error::other(
                "the response's body panicked",
            )))),
        };
        match &frame {
            Some(Ok(frame)) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(error)) => {
                if let Some(mut record) = self.record.take() {
                    record.fail(error);
                    record.end(StatusCode::INTERNAL_SERVER_ERROR, self.sent);
                }
            }
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // Only once the record has ended: hyper does not poll a body again that says so.
        self.record.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Departing {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record {
            record.sent(self.sent);
        }
    }
}
