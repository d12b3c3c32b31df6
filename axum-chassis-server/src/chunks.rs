//! Splits bodies into chunks of bounded size, so that a client that stops reading holds little memory.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The largest chunk for HTTP/1, in bytes, and the size of a connection's buffer.
///
/// It is a little less than 64 KiB, the most that the kernel sends as one packet. With chunks of 64 KiB, each would be sent as two packets, the
/// second one tiny, and a response of 1 MB over the loopback interface would take 1.5 times the CPU time.
pub const HTTP1: usize = 63 * 1024;
/// The largest chunk for an HTTP/2 stream, in bytes: the size of its frames.
pub const HTTP2: usize = 16 * 1024;

/// The last chunk of an HTTP/2 stream, in bytes. At most this much still waits for the client after the request has
/// ended.
const END: usize = 256;

/// The rest of a frame that is larger than the largest chunk.
#[derive(Debug, Default)]
pub struct Chunks(Bytes);

impl Chunks {
    /// The next chunk of the rest.
    #[inline]
    pub fn next(&mut self, longest: usize) -> Option<Frame<Bytes>> {
        (!self.0.is_empty()).then(|| Frame::data(self.0.split_to(longest.min(self.0.len()))))
    }

    /// The first chunk of a frame, or the whole frame if it is small enough.
    #[inline]
    pub fn split(&mut self, frame: Frame<Bytes>, longest: usize) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) if data.len() > longest => {
                self.0 = data.split_off(longest);
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        }
    }

    /// Keeps the last `END` bytes of the last frame as a separate chunk, if the frame is larger than that.
    ///
    /// As soon as the client's window has room for one byte, hyper takes a whole chunk and polls for the next. The
    /// body therefore ends only when the window has room for the last chunk too, so all chunks before it have been
    /// sent.
    #[inline]
    pub fn keep_end(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.0.is_empty() && length > END {
            true => self.split(frame, length - END),
            false => frame,
        }
    }

    /// The remaining size of a body: the rest here, plus that of the inner body.
    pub fn size_hint(&self, body: &impl Body) -> SizeHint {
        let mut hint = body.size_hint();
        let left = self.0.len() as u64;
        // The upper bound first, because it must not be less than the lower one.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + left);
        }
        hint.set_lower(hint.lower() + left);
        hint
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
