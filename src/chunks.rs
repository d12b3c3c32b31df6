//! Splits bodies into chunks of bounded size, so that a client that stops reading keeps little memory.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The longest piece for HTTP/1, in bytes: what a connection buffers anyway.
pub(crate) const HTTP1: usize = 64 * 1024;
/// The longest piece for a stream of HTTP/2, in bytes: as long as its frames are.
pub(crate) const HTTP2: usize = 16 * 1024;

/// The last piece of a stream of HTTP/2, in bytes: as much may wait for a client whose request is over.
const END: usize = 256;

/// The rest of a frame that is longer than the longest piece.
#[derive(Default)]
pub(crate) struct Chunks(Bytes);

impl Chunks {
    /// The next piece of it.
    pub(crate) fn next(&mut self, longest: usize) -> Option<Frame<Bytes>> {
        (!self.0.is_empty()).then(|| Frame::data(self.0.split_to(longest.min(self.0.len()))))
    }

    /// The first piece of a frame, or the frame if it is no longer than that.
    pub(crate) fn split(&mut self, frame: Frame<Bytes>, longest: usize) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) if data.len() > longest => {
                self.0 = data.split_off(longest);
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        }
    }

    /// Keeps the end of a frame for a piece of its own, if the frame is the last one here and longer than that.
    ///
    /// Once the client's window has room for one byte, hyper takes a whole piece and asks for the next. That comes to an end
    /// only when there is room for it as well, and so the pieces before it have been sent.
    pub(crate) fn keep_end(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) if self.0.is_empty() && data.len() > END => {
                self.0 = data.split_off(data.len() - END);
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        }
    }

    /// How much of a body is to come: what is left here, and what the body still has.
    pub(crate) fn size_hint(&self, body: &impl Body) -> SizeHint {
        let mut hint = body.size_hint();
        let left = self.0.len() as u64;
        // The upper bound first: it has to be no less than the lower one.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + left);
        }
        hint.set_lower(hint.lower() + left);
        hint
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
