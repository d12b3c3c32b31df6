//! Makes the current request the parent of spans that have no other parent.

use std::cell::Cell;
use std::str::FromStr;

use axum_chassis::trace::{self, Ids};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, ContextGuard};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{self, Layer};

thread_local! {
    /// The guard of the attached context: `Attach` stores it, and `Detach` drops it. A thread calls these layers one
    /// after the other.
    static ATTACHED: Cell<Option<ContextGuard>> = const { Cell::new(None) };
}

/// Puts the exporting layer between two other layers: `Attach` makes it find the request, and `Detach` undoes this. A
/// single layer that wraps the exporting layer would hide it from `OpenTelemetrySpanExt`, which looks it up by its
/// type.
pub(crate) fn within_requests<S: Subscriber>(exporting: impl Layer<S>) -> impl Layer<S> {
    Attach.and_then(exporting).and_then(Detach)
}

/// Makes the request OpenTelemetry's current context while a span is created.
struct Attach;

/// Restores the context that `Attach` has replaced.
struct Detach;

impl<S: Subscriber> Layer<S> for Attach {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
        // Inside another span, this other span is the parent.
        if !attributes.is_contextual() || Context::map_current(|now| now.has_active_span()) {
            return;
        }
        if let Some(ids) = trace::current() {
            // The request is attached even if its trace is not sampled: without a parent, the span would begin a new
            // trace.
            let request = Context::new().with_remote_span_context(span_context(&ids));
            ATTACHED.set(Some(request.attach()));
        }
    }
}

impl<S: Subscriber> Layer<S> for Detach {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
        ATTACHED.take();
    }
}

/// The request's span context, for its children and the exporter.
pub(crate) fn span_context(ids: &Ids) -> SpanContext {
    let (trace, span, _) = ids.trace.as_numbers();
    let state = ids.tracestate().and_then(|state| state.to_str().ok());
    SpanContext::new(
        TraceId::from(trace),
        SpanId::from(span),
        TraceFlags::default().with_sampled(ids.trace.is_sampled()),
        false,
        // An invalid `tracestate` is not exported, although it is passed on to other services.
        state
            .and_then(|state| TraceState::from_str(state).ok())
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{HeaderMap, HeaderValue};
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
    use tracing::{Instrument, info_span};
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Exported(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Exported {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("not poisoned").extend(batch);
            Ok(())
        }
    }

    /// The IDs of a request whose caller records the trace, or does not.
    fn ids(flags: &str) -> Ids {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let parent = HeaderValue::from_str(&parent).expect("a header");
        Ids::from_headers(&HeaderMap::from_iter([(trace::TRACEPARENT, parent)]))
    }

    /// Runs `work` within a request. Returns the exported spans, each with its trace and its parent.
    fn export(ids: &Ids, work: impl AsyncFnOnce()) -> Vec<(String, TraceId, SpanId)> {
        let exported = Exported::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_simple_exporter(exported.clone())
            .build();
        let exporting = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(within_requests(exporting));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        tracing::subscriber::with_default(subscriber, || {
            runtime.block_on(trace::scope(ids.clone(), work()));
        });
        let exported = exported.0.lock().expect("not poisoned");
        let of = |span: &SpanData| {
            let name = span.name.clone().into_owned();
            (name, span.span_context.trace_id(), span.parent_span_id)
        };
        exported.iter().map(of).collect()
    }

    #[test]
    fn the_request_is_the_parent_of_spans_without_another_parent() {
        let ids = ids("01");
        let mut outer_id = SpanId::INVALID;
        let spans = export(&ids, async || {
            let outer = info_span!("outer");
            outer_id = outer.context().span().span_context().span_id();
            outer.in_scope(|| drop(info_span!("inner")));
            drop(info_span!("beside"));
            // The span is created here, and entered in a task that does not have the request's IDs.
            let spawned = async {}.instrument(info_span!("spawned"));
            tokio::spawn(spawned).await.expect("no panic");
            drop(info_span!(parent: None, "apart"));
        });
        let (trace, span, _) = ids.trace.as_numbers();
        let (trace, request) = (TraceId::from(trace), SpanId::from(span));
        let parent = |name: &str| {
            let span = spans.iter().find(|span| span.0 == name);
            let (_, of, parent) = span.expect(name);
            (*of == trace, *parent)
        };
        assert_ne!(outer_id, SpanId::INVALID);
        assert_eq!(parent("outer"), (true, request));
        assert_eq!(parent("inner"), (true, outer_id));
        assert_eq!(parent("beside"), (true, request));
        assert_eq!(parent("spawned"), (true, request));
        assert_eq!(parent("apart"), (false, SpanId::INVALID));
        assert!(!Context::map_current(|now| now.has_active_span()));
    }

    #[test]
    fn spans_of_a_request_that_is_not_sampled_begin_no_trace() {
        let spans = export(&ids("00"), async || {
            info_span!("outer").in_scope(|| drop(info_span!("inner")));
        });
        assert_eq!(spans, []);
    }
}
