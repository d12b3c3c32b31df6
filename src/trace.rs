//! The ids of the request in hand: its request id and its place in a W3C trace.
//!
//! The request layer sets them for as long as the handler runs, log lines carry them, [`current`]
//! tells them, and [`pass_on`] hands them to a service that is called on behalf of the request:
//!
//! ```
//! let mut request = http::Request::get("http://stock/items/7").body(())?;
//! axum_chassis::trace::pass_on(request.headers_mut());
//! # Ok::<(), http::Error>(())
//! ```
//!
//! They are bound to the task of the request: a task that a handler spawns starts without them,
//! unless its future is wrapped in [`scope`].

#[cfg(feature = "otlp")]
#[path = "trace/place.rs"]
mod place;
#[cfg(not(feature = "otlp"))]
#[path = "trace/no_place.rs"]
mod place;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header a request id travels in, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header a W3C trace context travels in.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header in which tracing systems add what is theirs to a trace context.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const MAX_REQUEST_ID: usize = 128;
/// The standard asks for 512 at least.
const MAX_TRACESTATE: usize = 4096;

tokio::task_local! {
    static CURRENT: Ids;
}

/// The ids of the request that the current task is serving, if it is serving one.
pub fn current() -> Option<Ids> {
    CURRENT.try_with(Ids::clone).ok()
}

/// Lets `read` look at the current ids without cloning them.
pub(crate) fn with_current<R>(read: impl FnOnce(&Ids) -> R) -> Option<R> {
    CURRENT.try_with(read).ok()
}

/// Puts the current ids into the headers of an outgoing request, as [`Ids::pass_on`] does.
///
/// Where no request is being served, nothing happens.
pub fn pass_on(headers: &mut HeaderMap) {
    with_current(|ids| ids.pass_on(headers));
}

/// Runs `future` with `ids` as the current ones; for tasks that outlive their request.
pub fn scope<F: Future>(ids: Ids, future: F) -> impl Future<Output = F::Output> {
    let place = Place::of(&ids);
    scoped(ids, place, future)
}

pub(crate) use self::place::Place;

/// What [`scope`] returns, by name.
pub(crate) type Scoped<F> = tokio::task::futures::TaskLocalFuture<Ids, place::Within<F>>;

pub(crate) fn scoped<F: Future>(ids: Ids, place: Place, future: F) -> Scoped<F> {
    CURRENT.scope(ids, place.within(future))
}

/// What identifies one request in logs and towards other services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The caller's `x-request-id` where it was valid, else one made here.
    pub request: RequestId,
    /// The trace the request belongs to, and this service's span in it.
    pub trace: TraceContext,
    /// The caller's `tracestate`. Boxed, as few requests have one.
    state: Option<Box<HeaderValue>>,
}

impl Ids {
    /// Reads the ids from a request's headers, and makes what is missing or malformed.
    ///
    /// A request that comes with neither gets one id for both.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let (mut request, mut trace) = (None, None);
        // One look at each header: for the few that a request has, two look-ups would cost more.
        for (name, value) in headers {
            let is = |wanted: &HeaderName| {
                name.as_str().len() == wanted.as_str().len() && name == wanted
            };
            if request.is_none() && is(&REQUEST_ID) {
                request = Some(RequestId::from_header(value));
            } else if trace.is_none() && is(&TRACEPARENT) {
                trace = Some(TraceContext::parse(value.as_bytes()));
            }
        }
        let request = request.flatten();
        match trace.flatten() {
            Some(trace) => Self {
                request: request.unwrap_or_else(RequestId::random),
                trace,
                state: tracestate(headers).map(Box::new),
            },
            None => {
                let trace = TraceContext::random();
                Self {
                    request: request.unwrap_or(RequestId(Id::Ours(hex(trace.trace)))),
                    trace,
                    // Without a valid `traceparent` a `tracestate` means nothing.
                    state: None,
                }
            }
        }
    }

    /// Calls `run` with these ids as the current ones.
    pub(crate) fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), run)
    }

    /// Puts the ids into the headers of a request that is made on behalf of this one:
    /// `traceparent`, `x-request-id`, and `tracestate` as the caller sent it.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request.header());
        if let Ok(value) = HeaderValue::try_from(self.trace.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, HeaderValue::clone(state)),
            None => headers.remove(TRACESTATE),
        };
    }
}

/// The caller's `tracestate`, which may come as several headers.
fn tracestate(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    let joined = match values.next() {
        None => first.clone(),
        Some(_) => {
            let all = headers.get_all(TRACESTATE).iter();
            let all: Vec<_> = all.map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b","[..])).ok()?
        }
    };
    (1..=MAX_TRACESTATE)
        .contains(&joined.len())
        .then_some(joined)
}

/// A request id: 1 to 128 visible ASCII characters other than `"` and `\`, so that it can go
/// into a header or a log line as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Id);

#[derive(Clone, PartialEq, Eq)]
enum Id {
    Theirs(HeaderValue),
    Ours([u8; 32]),
}

impl RequestId {
    /// The id in a header, if it is one we pass on.
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

    /// The id's characters.
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

    /// The id as a header's value.
    pub fn header(&self) -> HeaderValue {
        thread_local! {
            // Values are cut from a page, so that most of them allocate nothing.
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

/// A place in a distributed trace, after [W3C Trace Context](https://www.w3.org/TR/trace-context/).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    sampled: bool,
    /// Whether this process exports traces, so that its spans need to know their parent.
    exporting: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header: the caller's span becomes the parent of a new one.
    ///
    /// `None` for anything the standard calls invalid.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let version = *unhex(header.get(..2)?)?.to_be_bytes().last()?;
        // A later version may append fields; this one may not.
        let ends_well = match header.len() {
            55 => true,
            56.. => version > 0 && header[55] == b'-',
            _ => false,
        };
        let dashes = [2, 35, 52].iter().all(|&at| header.get(at) == Some(&b'-'));
        if version == 0xff || !ends_well || !dashes {
            return None;
        }
        let trace = unhex(&header[3..35])?;
        let parent = u64::try_from(unhex(&header[36..52])?).ok()?;
        let flags = unhex(&header[53..55])?;
        (trace != 0 && parent != 0).then(|| Self {
            trace,
            span: nonzero(),
            parent: Some(parent),
            sampled: flags & 1 == 1,
            exporting: false,
        })
    }

    /// The root of a new trace, not sampled.
    pub fn random() -> Self {
        Self {
            trace: fastrand::u128(1..),
            span: nonzero(),
            parent: None,
            sampled: false,
            exporting: false,
        }
    }

    /// The `traceparent` for a request that is made on behalf of this one.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }

    /// The trace's id as 32 hexadecimal digits.
    pub fn trace_id(&self) -> impl fmt::Display + use<> {
        Digits(hex(self.trace))
    }

    /// This service's span in the trace, as 16 hexadecimal digits.
    pub fn span_id(&self) -> impl fmt::Display + use<> {
        Digits(digits(self.span))
    }

    /// The trace's id as ASCII digits, for the hot path.
    pub(crate) fn trace_digits(&self) -> [u8; 32] {
        hex(self.trace)
    }

    /// The numbers behind the ids: trace, span, and the caller's span.
    pub fn as_numbers(&self) -> (u128, u64, Option<u64>) {
        (self.trace, self.span, self.parent)
    }

    /// Whether this trace is recorded: by the caller's word, or where this service exports its
    /// traces (feature `otlp`), by its sampler's.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }
}

struct Digits<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

fn nonzero() -> u64 {
    fastrand::u64(1..)
}

fn hex(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    let (high, low) = text.split_at_mut(16);
    high.copy_from_slice(&digits((number >> 64) as u64));
    low.copy_from_slice(&digits(number as u64));
    text
}

/// All sixteen hexadecimal digits of a number.
pub(crate) fn digits(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    let (high, low) = text.split_at_mut(8);
    high.copy_from_slice(&eight_digits(number >> 32));
    low.copy_from_slice(&eight_digits(number & 0xffff_ffff));
    text
}

/// The digits of 32 bits, worked out side by side.
fn eight_digits(mut word: u64) -> [u8; 8] {
    // Half a byte to each byte.
    word = (word << 16 | word) & 0x0000_ffff_0000_ffff;
    word = (word << 8 | word) & 0x00ff_00ff_00ff_00ff;
    word = (word << 4 | word) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte that is ten or more, and so a letter.
    let letters = (word + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let text = word + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10);
    text.to_be_bytes()
}

/// Lower-case digits only: the standard forbids upper case.
fn unhex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_continued_with_a_span_of_our_own() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(header.as_bytes()).expect("the standard's own example");
        let (trace, span, parent) = context.as_numbers();
        assert_eq!(trace, 0x4bf92f3577b34da6a3ce929d0e0e4736);
        assert_eq!(parent, Some(0x00f067aa0ba902b7));
        assert_ne!(Some(span), parent);
        assert!(context.is_sampled());
        assert!(
            context
                .traceparent()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
    }

    #[test]
    fn a_malformed_traceparent_starts_a_new_trace() {
        let wrong = [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ];
        for header in wrong {
            assert_eq!(TraceContext::parse(header.as_bytes()), None, "{header}");
        }
    }

    #[test]
    fn a_later_version_may_bring_more_fields() {
        let header = b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(header).is_some());
    }

    #[test]
    fn an_outgoing_request_gets_the_ids_and_no_state_of_another_trace() {
        let mut incoming = HeaderMap::new();
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        incoming.insert(TRACEPARENT, HeaderValue::from_static(caller));
        incoming.append(TRACESTATE, HeaderValue::from_static("a=1"));
        incoming.append(TRACESTATE, HeaderValue::from_static("b=2"));
        incoming.insert(REQUEST_ID, HeaderValue::from_static("abc"));
        let ids = Ids::from_headers(&incoming);

        let mut outgoing = HeaderMap::new();
        ids.pass_on(&mut outgoing);
        assert_eq!(outgoing[REQUEST_ID], "abc");
        assert_eq!(outgoing[TRACESTATE], "a=1,b=2");
        assert_eq!(outgoing[TRACEPARENT], ids.trace.traceparent());
        assert_eq!(
            outgoing[TRACEPARENT].as_bytes()[..36],
            caller.as_bytes()[..36]
        );
        assert_ne!(
            outgoing[TRACEPARENT].as_bytes()[36..52],
            caller.as_bytes()[36..52]
        );

        incoming.insert(
            TRACEPARENT,
            HeaderValue::from_static("00-no-traceparent-01"),
        );
        Ids::from_headers(&incoming).pass_on(&mut outgoing);
        assert!(!outgoing.contains_key(TRACESTATE));
    }

    #[tokio::test]
    async fn only_a_request_has_ids_to_pass_on() {
        let mut headers = HeaderMap::new();
        pass_on(&mut headers);
        assert!(headers.is_empty());
        let ids = Ids::from_headers(&headers);
        scope(ids.clone(), async { pass_on(&mut headers) }).await;
        assert_eq!(headers[TRACEPARENT], ids.trace.traceparent());
    }

    #[test]
    fn a_request_id_is_kept_only_if_it_can_stand_in_a_log_line() {
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
    fn digits_are_those_that_the_standard_library_writes() {
        for number in [0, 1, 9, 10, 0xf, 0x09af_90fa_1234_5678, u64::MAX] {
            assert_eq!(digits(number), format!("{number:016x}").as_bytes());
        }
        let number = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210;
        assert_eq!(hex(number), format!("{number:032x}").as_bytes());
    }

    #[test]
    fn a_request_that_brings_no_ids_gets_one_for_both() {
        let ids = Ids::from_headers(&HeaderMap::new());
        assert_eq!(ids.request.as_str(), ids.trace.trace_id().to_string());
        assert_eq!(ids.request.header(), ids.request.as_str());
    }

    #[test]
    fn requests_of_one_trace_get_ids_of_their_own() {
        let mut headers = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
        let ids = [(); 2].map(|()| Ids::from_headers(&headers));
        assert_eq!(ids[0].trace.trace_id().to_string(), parent[3..35]);
        assert_ne!(ids[0].request, ids[1].request);
    }

    #[test]
    fn made_up_request_ids_differ() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| RequestId::random().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
