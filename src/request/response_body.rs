//! Tracks a response body; a request ends when its response body ends.
//!
//! | response body | the request ends | bytes counted |
//! |---|---|---|
//! | no body (HEAD, 101, 204, 304), or an empty body | with the response's head | 0 |
//! | HTTP/1, in memory, at most 63 KiB | with the response's head: hyper takes both at once | the body's length |
//! | HTTP/1, other bodies of a known length | when hyper has taken the last byte | bytes that hyper has taken |
//! | HTTP/2, or of an unknown length | at the end of the body | bytes that hyper has taken |
//! | aborted before its end | when hyper drops the body: 499, or 503 at the shutdown deadline | bytes that hyper has taken |
//!
//! hyper takes the body in chunks, and the next chunk only once the connection has room for it. A chunk has at most 63
//! KiB in HTTP/1 and 16 KiB in HTTP/2, and the last chunk of an HTTP/2 stream has at most 256 bytes. After that, the
//! connection may still contain data that the client does not read. This data counts as one request in flight
//! (`server/socket.rs` of `axum-chassis-server`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use axum_chassis_server::chunks::{self, Chunks};
use bytes::Bytes;
use http::{StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use prometheus::IntGauge;

use super::in_flight::InFlight;

/// A response body whose end is the request's end.
pub(super) struct ResponseBody {
    body: Body,
    chunks: Chunks,
    is_http2: bool,
    in_flight: Option<InFlight>,
    status: StatusCode,
    sent: u64,
    /// The body's length in bytes, if it is known.
    length: Option<u64>,
    waiting: Waiting,
}

/// The bytes of a body of known length that have not been sent yet, counted in a gauge.
struct Waiting {
    gauge: IntGauge,
    bytes: u64,
}

impl ResponseBody {
    /// Ends the request with the response, or with the response's body if that takes time.
    pub(super) fn watch(
        response: Response,
        in_flight: &mut Option<InFlight>,
        version: Version,
    ) -> Response {
        // The request ends in place if possible, because moving an `InFlight` takes longer than all decisions here.
        let Some(under_way) = in_flight else {
            return response;
        };
        let status = response.status();
        let in_memory = response.body().size_hint().exact();
        let is_http2 = version >= Version::HTTP_2;
        if in_memory == Some(0) || under_way.is_head() || has_no_body(status) {
            under_way.end(status, 0);
            return response;
        }
        if let Some(bytes) = in_memory
            && !is_http2
            && bytes <= chunks::HTTP1 as u64
        {
            under_way.end(status, bytes);
            return response;
        }
        let length = in_memory.or_else(|| content_length(&response));
        if length == Some(0) {
            under_way.end(status, 0);
            return response;
        }
        let waiting = Waiting::new(under_way.waiting(), in_memory.unwrap_or_default());
        response.map(|body| {
            Body::new(Self {
                body,
                chunks: Chunks::default(),
                is_http2,
                in_flight: in_flight.take(),
                status,
                sent: 0,
                length,
                waiting,
            })
        })
    }

    fn end(&mut self) {
        if let Some(mut in_flight) = self.in_flight.take() {
            in_flight.end(self.status, self.sent);
        }
    }

    /// The next chunk: of the frame that is partly sent, or else of the body's next frame.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let longest = match self.is_http2 {
            true => chunks::HTTP2,
            false => chunks::HTTP1,
        };
        if let Some(piece) = self.chunks.next(longest) {
            return Poll::Ready(Some(Ok(piece)));
        }
        let body = AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context));
        // A panic in a stream aborts only this response.
        let frame = match catch_unwind(body) {
            Ok(frame) => ready!(frame),
            Err(_) => Some(Err(axum::Error::new(std::io::Error::other(
                "the response's body panicked",
            )))),
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| self.chunks.split(frame, longest))))
    }
}

fn content_length(response: &Response) -> Option<u64> {
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether a response with this status never has a body. After a 101, the bytes of the other protocol follow.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

impl Waiting {
    fn new(gauge: &IntGauge, bytes: u64) -> Self {
        gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self {
            gauge: gauge.clone(),
            bytes,
        }
    }

    fn taken(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.gauge.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.taken(self.bytes);
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = ready!(this.poll_piece(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.sent += bytes;
                this.waiting.taken(bytes);
                // In HTTP/1, hyper stops polling after `content-length` bytes. In HTTP/2, the last chunk may still wait
                // for room in the flow-control window. It has been sent once hyper polls for the next chunk.
                let is_whole = this.length.is_some_and(|length| this.sent >= length)
                    || (this.chunks.is_empty() && this.body.is_end_stream());
                // hyper does not poll after trailers.
                if (is_whole && !this.is_http2) || frame.is_trailers() {
                    this.end();
                }
            }
            Some(Err(error)) => {
                if let Some(mut in_flight) = this.in_flight.take() {
                    in_flight.fail(error);
                    in_flight.end(StatusCode::INTERNAL_SERVER_ERROR, this.sent);
                }
            }
            None => this.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // True only once the request has ended, because hyper then stops polling the body.
        self.in_flight.is_none() && self.chunks.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.chunks.size_hint(&self.body)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.sent(self.sent);
        }
    }
}
