//! A `tracing` layer in addition to the log. It sends each error to an error tracker, with the name of the span in
//! which the error happened.
//!
//! ```sh
//! cargo run --example tracing_layer
//! curl localhost:8080/orders/7     # "tracker: order: no stock" on standard error
//! ```
//!
//! The layers of Sentry and tokio-console are added in the same way: docs/logs.md.

use std::fmt;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_chassis::Service;
use http::StatusCode;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error, instrument};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

fn main() -> ExitCode {
    Service::<()>::new("tracing_layer", env!("CARGO_PKG_VERSION"))
        // The layer needs a filter of its own, because the log's filter does not apply to it. The filter also selects
        // the spans that the layer receives.
        .tracing_layer(Tracker.with_filter(LevelFilter::INFO))
        .run(async |_| Ok(Router::new().route("/orders/{id}", get(order))))
}

#[instrument]
async fn order(Path(id): Path<u32>) -> StatusCode {
    error!(id, "no stock");
    StatusCode::CONFLICT
}

/// A stand-in for the layer of an error tracker.
struct Tracker;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Tracker {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let span = context
            .event_span(event)
            .map_or("no span", |span| span.name());
        let mut message = Message(String::new());
        event.record(&mut message);
        eprintln!("tracker: {span}: {}", message.0);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
