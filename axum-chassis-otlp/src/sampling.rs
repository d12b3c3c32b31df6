//! Trace sampling according to OpenTelemetry, for requests and for other spans.

use std::fmt;

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

/// The sampler: selects the traces that are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Whether the caller's sampling decision is used, if the request has one.
    by_parent: bool,
    root: Root,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    All,
    None,
    Ratio(f64),
}

// === impl Sampling ===

impl Sampling {
    pub(crate) const NONE: Self = Self {
        by_parent: false,
        root: Root::None,
    };

    /// The sampler with the standard's `name`; `ratio` is called if the name needs one.
    pub(crate) fn named(name: &str, ratio: impl FnOnce() -> f64) -> Option<Self> {
        let (by_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Root::All,
            "always_off" => Root::None,
            "traceidratio" => Root::Ratio(ratio()),
            _ => return None,
        };
        Some(Self { by_parent, root })
    }

    /// OpenTelemetry's sampler that makes the same decisions, for spans other than those of requests.
    pub(crate) fn sampler(self) -> Sampler {
        let root = self.root.sampler();
        if self.by_parent {
            Sampler::ParentBased(Box::new(root))
        } else {
            root
        }
    }

    /// Whether to export the trace. `parent` is the caller's decision, if the request has one.
    pub(crate) fn decide(self, trace: TraceId, parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.by_parent) {
            return sampled;
        }
        match self.root {
            Root::All => true,
            Root::None => false,
            Root::Ratio(_) => {
                let sampler = self.root.sampler();
                let result = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.by_parent { "parentbased_" } else { "" })?;
        match self.root {
            Root::All => f.write_str("always_on"),
            Root::None => f.write_str("always_off"),
            Root::Ratio(ratio) => write!(f, "traceidratio {ratio}"),
        }
    }
}

impl Root {
    fn sampler(self) -> Sampler {
        match self {
            Self::All => Sampler::AlwaysOn,
            Self::None => Sampler::AlwaysOff,
            Self::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decided_like_the_spans_within_it() {
        let named = |name| Sampling::named(name, || 0.5).expect("a sampler");
        let ids = [1, u128::from(u64::MAX), u128::MAX / 3].map(TraceId::from);
        for name in ["always_on", "always_off", "traceidratio"] {
            let sampling = named(name);
            for id in ids {
                let sampler = sampling.sampler();
                let inside = sampler.should_sample(None, id, "", &SpanKind::Internal, &[], &[]);
                let sampled = inside.decision == SamplingDecision::RecordAndSample;
                for parent in [None, Some(true), Some(false)] {
                    assert_eq!(sampling.decide(id, parent), sampled, "{name}");
                }
            }
        }
        let by_parent = named("parentbased_always_off");
        assert!(by_parent.decide(TraceId::from(1), Some(true)));
        assert!(!by_parent.decide(TraceId::from(1), None));
    }
}
