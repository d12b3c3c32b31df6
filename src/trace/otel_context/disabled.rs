//! Without the feature `otlp`: the same API as `enabled`, and no work.

/// The OpenTelemetry context of a request: empty.
pub(crate) struct OtelContext;

pub(super) type WithContext<F> = F;

impl OtelContext {
    pub(crate) fn of(_: &super::Ids) -> Self {
        Self
    }

    pub(crate) fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        run()
    }

    pub(super) fn within<F>(self, future: F) -> WithContext<F> {
        future
    }
}
