//! Validates, generates and formats request IDs.

use std::cell::RefCell;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;

use super::context::TraceContext;
use super::digits::hex;

const MAX_REQUEST_ID: usize = 128;

/// A request ID: 1 to 128 visible ASCII characters other than `"` and `\`, so that it can be written
/// into a header or a log line without escaping.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Id);

#[derive(Clone, PartialEq, Eq)]
enum Id {
    Theirs(HeaderValue),
    Ours([u8; 32]),
}

impl RequestId {
    /// The request ID in a header, if it is valid.
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        ((1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(plain))
            .then(|| Self(Id::Theirs(value.clone())))
    }

    /// 32 random hexadecimal digits.
    pub fn random() -> Self {
        Self(Id::Ours(hex(fastrand::u128(..))))
    }

    /// The ID for a request without an ID that begins a new trace. It has the same number as the trace's ID.
    pub(super) fn of(trace: &TraceContext) -> Self {
        Self(Id::Ours(trace.trace_digits()))
    }

    /// The ID's characters.
    pub fn as_str(&self) -> &str {
        // Only visible ASCII gets into a `RequestId`.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Id::Theirs(value) => value.as_bytes(),
            Id::Ours(digits) => digits,
        }
    }

    /// The ID as the value of a header.
    pub fn header(&self) -> HeaderValue {
        thread_local! {
            // The values are parts of a larger buffer, so that most of them need no allocation.
            static PAGE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
        }
        let digits = match &self.0 {
            Id::Theirs(value) => return value.clone(),
            Id::Ours(digits) => digits,
        };
        let bytes: Bytes = PAGE.with_borrow_mut(|page| {
            if page.capacity() < digits.len() {
                *page = BytesMut::with_capacity(4096);
            }
            page.put_slice(digits);
            page.split().freeze()
        });
        HeaderValue::from_maybe_shared(bytes).expect("hexadecimal digits make a header value")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_only_if_it_is_safe_in_a_log_line() {
        for (id, kept) in [
            ("abc-1.2_3", true),
            ("a b", false),
            ("a\"b", false),
            ("", false),
        ] {
            let header = HeaderValue::from_bytes(id.as_bytes()).expect("a header value");
            assert_eq!(RequestId::from_header(&header).is_some(), kept, "{id:?}");
        }
        let long = HeaderValue::from_str(&"x".repeat(129)).expect("a header value");
        assert_eq!(RequestId::from_header(&long), None);
    }

    #[test]
    fn generated_request_ids_differ() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| RequestId::random().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
