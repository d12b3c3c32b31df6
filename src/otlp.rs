//! Exports request traces through OTLP, with the feature `otlp` and if OpenTelemetry's environment variables name a
//! collector.
//!
//! A request's span is created at the end of the request, from data that exists anyway. Only its IDs are needed earlier, as
//! the parent of other spans.
//!
//! A [`Service`](crate::Service) does all of this itself. A program with its own `main` passes an `Export` to the log and to
//! the layer around the requests, and flushes it after the last request. docs/traces.md in the repository lists the
//! variables and the exported data.

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

/// The numbers of spans so far, by their fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "otlp"), allow(dead_code, unreachable_pub))]
#[non_exhaustive]
pub struct Counts {
    /// Accepted by the collector.
    pub exported: u64,
    /// Dropped because the queue was full.
    pub no_room: u64,
    /// Lost because the collector did not accept them.
    pub refused: u64,
}
