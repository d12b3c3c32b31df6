//! The `tracing` layer that turns events and spans into log lines.

use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::LogsState;
use super::chain::Chain;
use super::line::{Line, with_ids};
use super::write;

/// Writes a line for each event that passes the filter.
pub(super) struct Lines(pub(super) Arc<LogsState>);

/// The log's filter as a filter of one layer only, because other layers have their own filters.
pub(super) struct OwnFilter(pub(super) Arc<LogsState>);

/// The fields of a span, as they are written in each line within it.
struct SpanFields(Vec<(&'static str, Vec<u8>)>);

// === impl Lines ===

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.0.filter.wants(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.filter.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.filter.max_level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.is_empty() {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut fields = SpanFields(Vec::new());
            attributes.record(&mut FieldValues::to(|name, write| fields.set(name, write)));
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<SpanFields>().is_none() {
            extensions.insert(SpanFields(Vec::new()));
        }
        if let Some(fields) = extensions.get_mut::<SpanFields>() {
            values.record(&mut FieldValues::to(|name, write| fields.set(name, write)));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let shared = &self.0;
        let metadata = event.metadata();
        let level = *metadata.level();
        let mut line = Line::start(shared.style, level, metadata.target());
        let mut message = Message(&mut line, false);
        event.record(&mut message);
        if !message.1 {
            line.message("");
        }
        with_ids(|ids| {
            if ids.is_some() {
                line.in_request();
            }
            event.record(&mut FieldValues::to(|name, write| {
                if name != "message" {
                    line.field(name, write);
                }
            }));
            for span in context.event_scope(event).into_iter().flatten() {
                if let Some(SpanFields(fields)) = span.extensions().get() {
                    for (name, value) in fields {
                        line.field(name, |out| out.extend_from_slice(value));
                    }
                }
            }
            line.finish(ids, |line| shared.push(level, line));
        });
    }
}

// === impl OwnFilter ===

impl<S> Filter<S> for OwnFilter {
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.0.filter.wants(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.0.filter.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.filter.max_level())
    }
}

// === impl SpanFields ===

impl SpanFields {
    fn set(&mut self, name: &'static str, write: &dyn Fn(&mut Vec<u8>)) {
        let mut value = Vec::new();
        write(&mut value);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

/// Calls its function for each field, with the field's name and a function that writes its value as JSON.
struct FieldValues<F>(F);

// === impl FieldValues ===

impl<F: FnMut(&'static str, &dyn Fn(&mut Vec<u8>))> FieldValues<F> {
    fn to(function: F) -> Self {
        Self(function)
    }
}

impl<F: FnMut(&'static str, &dyn Fn(&mut Vec<u8>))> Visit for FieldValues<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field.name(), &|out| {
            write::display(out, format_args!("{value:?}"))
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field.name(), &|out| write::string(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field.name(), &|out| write::boolean(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field.name(), &|out| write::integer(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field.name(), &|out| write::integer(out, value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field.name(), &|out| write::integer(out, value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field.name(), &|out| write::integer(out, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field.name(), &|out| write::float(out, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        (self.0)(field.name(), &|out| write::display(out, Chain(value)));
    }
}

/// Writes the event's message, which may be anywhere among the fields. If the message is written as a field, the macros
/// add an empty message, which is skipped.
struct Message<'a>(&'a mut Line, bool);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" && !self.1 {
            self.1 = self.0.message_if_any(format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" && !self.1 {
            self.1 = self.0.message_if_any(value);
        }
    }
}
