//! Makes the request OpenTelemetry's current context, so that spans in a handler become its children.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::task;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use pin_project_lite::pin_project;

use super::{Ids, TraceContext};

/// The OpenTelemetry context of a request; empty unless this process exports traces.
pub(crate) struct OtelContext(Option<Context>);

impl OtelContext {
    pub(crate) fn of(ids: &Ids) -> Self {
        // A trace that is not sampled needs a context too: spans without a parent would begin a trace.
        let is_exported = ids.trace.exporting;
        Self(is_exported.then(|| Context::new().with_remote_span_context(ids.span_context())))
    }

    /// Calls `run` in this context.
    pub(crate) fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        let _here = self.0.clone().map(Context::attach);
        run()
    }

    pub(super) fn within<F>(self, future: F) -> WithContext<F> {
        WithContext {
            otel_context: self,
            future,
        }
    }
}

pin_project! {
    /// A future that is polled in its context.
    pub(crate) struct WithContext<F> {
        otel_context: OtelContext,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for WithContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<F::Output> {
        let this = self.project();
        this.otel_context.enter(|| this.future.poll(context))
    }
}

impl Ids {
    /// The request's span context, for its children and the exporter.
    pub(crate) fn span_context(&self) -> SpanContext {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok());
        SpanContext::new(
            TraceId::from(self.trace.trace),
            SpanId::from(self.trace.span),
            TraceFlags::default().with_sampled(self.trace.sampled),
            false,
            // One that cannot be read is not ours to judge: it is passed on all the same.
            state
                .and_then(|state| TraceState::from_str(state).ok())
                .unwrap_or_default(),
        )
    }
}

impl TraceContext {
    /// Records that this process exports traces, and whether it exports this one.
    pub(crate) fn decide(&mut self, sampled: bool) {
        self.sampled = sampled;
        self.exporting = true;
    }
}
