//! Exports request traces through OTLP, with the feature `otlp` and if OpenTelemetry's environment variables name a
//! collector.
//!
//! A request's span is written at its end, in one go, from data that exists anyway; only its
//! place among other spans is needed earlier, and that is its ids.
//!
//! A [`Service`](crate::Service) exports by itself. In a program that keeps its own `main`, an
//! `Export` is given to the log and to the layer around the requests, and flushed after the last of
//! them. Which variables there are, and what is exported: docs/traces.md in the repository.

// Two files, of which one is compiled: `enabled` and `disabled` offer the same.

#[cfg(not(feature = "otlp"))]
mod disabled;
#[cfg(feature = "otlp")]
mod enabled;

#[cfg(not(feature = "otlp"))]
pub(crate) use self::disabled::{Config, Export, Span};
#[cfg(feature = "otlp")]
pub use self::enabled::Export;
#[cfg(feature = "otlp")]
pub(crate) use self::enabled::{Config, Span};

/// How many spans went where so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "otlp"), allow(dead_code, unreachable_pub))]
#[non_exhaustive]
pub struct Counts {
    /// Those that the collector took.
    pub exported: u64,
    /// Dropped since too many waited already.
    pub no_room: u64,
    /// Lost since the collector did not take them.
    pub refused: u64,
}
