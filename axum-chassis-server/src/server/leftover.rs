//! Reads or discards the rest of a request body after an early response, on HTTP/1.
//!
//! A short rest is read, and the connection stays open. Otherwise the response has `Connection: close`, and the socket
//! lingers: [`super::socket`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use tokio::time::{Sleep, sleep};

use crate::upload::Upload;

/// The largest rest that is read and discarded, in bytes.
const MOST: u64 = 64 * 1024;
/// The longest time for which a response waits until the rest of its request has been read.
const PATIENCE: Duration = Duration::from_millis(250);

/// A response, and the unread rest of its request.
pub(super) struct Leftover {
    upload: Upload,
    /// The client waits for a 100 (Continue).
    is_asked_for: bool,
    answer: Option<Response>,
    rest: Option<Rest>,
}

struct Rest {
    body: Body,
    read: u64,
    patience: Pin<Box<Sleep>>,
}

impl Leftover {
    pub(super) fn new(upload: Upload, is_asked_for: bool) -> Self {
        upload.keep_rest();
        Self {
            upload,
            is_asked_for,
            answer: None,
            rest: None,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn answer(&mut self, answer: Response) {
        self.answer = Some(answer);
        if self.upload.is_complete() {
            return;
        }
        let rest = self.upload.rest();
        let is_little = |body: &Body| body.size_hint().lower() <= MOST && !self.is_asked_for;
        self.rest = rest.filter(is_little).map(|body| Rest {
            body,
            read: 0,
            patience: Box::pin(sleep(PATIENCE)),
        });
    }

    /// The response, and whether the request has been read completely.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Response, bool)> {
        let is_read = match &mut self.rest {
            None => self.upload.is_complete(),
            Some(rest) => match rest.poll(context) {
                Poll::Ready(is_read) => is_read,
                Poll::Pending => return Poll::Pending,
            },
        };
        self.rest = None;
        Poll::Ready((self.answer.take().unwrap_or_default(), is_read))
    }
}

impl Rest {
    /// Whether the request has been read completely.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            if self.body.is_end_stream() {
                return Poll::Ready(true);
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(frame))) => {
                    self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if self.read > MOST {
                        return Poll::Ready(false);
                    }
                }
                Poll::Pending => return self.patience.as_mut().poll(context).map(|()| false),
            }
        }
    }
}
