//! Parses and formats `traceparent`.

use std::fmt;
use std::num::NonZeroU64;

use super::digits::{Digits, digits, hex, unhex};

/// A position in a distributed trace, as [W3C Trace Context](https://www.w3.org/TR/trace-context/) defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The bytes of a `u128`. A `u128` itself has to be aligned to 16 bytes. With it, and without `NonZeroU64`, the future of a request
    /// would be 48 bytes larger, and a request would take 51 instructions more.
    trace: [u8; 16],
    span: u64,
    parent: Option<NonZeroU64>,
    sampled: bool,
    /// Whether the trace's ID is random. Level 2 of the standard passes this on as a flag.
    random: bool,
}

impl TraceContext {
    /// Parses a `traceparent` header. The caller's span becomes the parent of a new span.
    ///
    /// Returns `None` for a header that is invalid according to the standard.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let version = *unhex(header.get(..2)?)?.to_be_bytes().last()?;
        // A later version of the format may append fields. Version 0 may not.
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
        let parent = NonZeroU64::new(u64::try_from(unhex(&header[36..52])?).ok()?)?;
        let flags = unhex(&header[53..55])?;
        (trace != 0).then(|| Self {
            trace: trace.to_ne_bytes(),
            span: nonzero(),
            parent: Some(parent),
            sampled: flags & 1 == 1,
            random: flags & 2 == 2,
        })
    }

    /// The root of a new trace, not sampled.
    pub fn random() -> Self {
        Self {
            // Only 0 is invalid, and `max` replaces it faster than a random number from a range could be generated.
            trace: fastrand::u128(..).max(1).to_ne_bytes(),
            span: nonzero(),
            parent: None,
            sampled: false,
            random: true,
        }
    }

    /// The `traceparent` for an outgoing request that belongs to this request.
    pub fn traceparent(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace(),
            self.span,
            u8::from(self.sampled) | (u8::from(self.random) << 1)
        )
    }

    /// The trace's ID as 32 hexadecimal digits.
    pub fn trace_id(&self) -> impl fmt::Display + use<> {
        Digits(hex(self.trace()))
    }

    /// This service's span in the trace, as 16 hexadecimal digits.
    pub fn span_id(&self) -> impl fmt::Display + use<> {
        Digits(digits(self.span))
    }

    /// The trace's ID as ASCII digits, for the hot path.
    pub(crate) fn trace_digits(&self) -> [u8; 32] {
        hex(self.trace())
    }

    /// The IDs as numbers: trace, span, and the caller's span.
    pub fn as_numbers(&self) -> (u128, u64, Option<u64>) {
        (self.trace(), self.span, self.parent.map(NonZeroU64::get))
    }

    fn trace(&self) -> u128 {
        u128::from_ne_bytes(self.trace)
    }

    /// Whether this trace is recorded. The caller decides this, unless [`set_sampled`](Self::set_sampled) overrides the decision.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Decides whether this trace is recorded, such as by a sampler. [`inject`](super::inject) passes the decision on to other services.
    pub fn set_sampled(&mut self, sampled: bool) {
        self.sampled = sampled;
    }
}

fn nonzero() -> u64 {
    fastrand::u64(..).max(1)
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
    fn the_random_flag_is_propagated_and_set_for_a_generated_trace_id() {
        let flags = |header: &str| {
            let context = TraceContext::parse(header.as_bytes()).expect("valid");
            context.traceparent()[53..].to_owned()
        };
        for given in ["00", "01", "02", "03"] {
            let header = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{given}");
            assert_eq!(flags(&header), given);
        }
        assert!(TraceContext::random().traceparent().ends_with("-02"));
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
    fn a_later_version_may_have_more_fields() {
        let header = b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(header).is_some());
    }
}
