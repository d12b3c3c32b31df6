//! The bounded queue of spans for the collector. It counts and reports dropped spans.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use crate::Counts;
use crate::client::{Accepted, Client, refused};

/// The minimum time between two log lines of one kind.
pub(crate) const BETWEEN_REPORTS: Duration = Duration::from_secs(60);

/// The counts of this process's spans.
#[derive(Debug)]
pub(crate) struct Spans {
    room: usize,
    queued: AtomicUsize,
    under_way: AtomicUsize,
    exported: AtomicU64,
    no_room: AtomicU64,
    refused: AtomicU64,
    closed: AtomicBool,
    reports: Mutex<Reports>,
}

/// The reports in the log about what an export loses.
#[derive(Debug)]
pub(crate) struct Reports {
    /// The exported items, such as `spans`.
    what: &'static str,
    last: Option<Instant>,
    /// The number of lost ones that have been reported.
    lost: u64,
    failing: bool,
    warnings: Warnings,
}

/// The collector's last warning, and when it was logged.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Option<(Instant, String)>);

impl Warnings {
    /// Whether to log a warning: once, and different warnings at a limited rate. An empty text is not a warning.
    pub(crate) fn is_due(&mut self, warning: &str) -> bool {
        let is_due = match &self.0 {
            Some((at, known)) => known != warning && at.elapsed() >= BETWEEN_REPORTS,
            None => true,
        };
        let is_due = is_due && !warning.is_empty();
        if is_due {
            self.0 = Some((Instant::now(), warning.to_owned()));
        }
        is_due
    }
}

impl Spans {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            queued: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            exported: AtomicU64::new(0),
            no_room: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            reports: Mutex::new(Reports::new("spans")),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            exported: self.exported.load(Ordering::Relaxed),
            no_room: self.no_room.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// The number of spans that are neither exported nor lost yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queued.load(Ordering::Relaxed) + self.under_way.load(Ordering::Relaxed)
    }

    /// Reserves room for one span in the queue. Returns `false`, and counts the span as dropped, if there is no room or
    /// the queue is closed.
    fn enter(&self) -> bool {
        let place = self.queued.fetch_add(1, Ordering::Relaxed);
        let room = place < self.room && !self.closed.load(Ordering::Relaxed);
        if !room {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.no_room.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    fn leave(&self, spans: usize) {
        self.queued.fetch_sub(spans, Ordering::Relaxed);
        self.under_way.store(spans, Ordering::Relaxed);
    }

    fn arrived(&self, spans: usize, result: &Result<Accepted, String>) {
        self.under_way.store(0, Ordering::Relaxed);
        let spans = spans as u64;
        let refused = refused(result, spans);
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.exported.fetch_add(spans - refused, Ordering::Relaxed);
    }

    fn report(&self, result: &Result<Accepted, String>) {
        let Counts {
            no_room, refused, ..
        } = self.counts();
        lock(&self.reports).report(result, no_room + refused);
    }
}

impl Reports {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            last: None,
            lost: 0,
            failing: false,
            warnings: Warnings::default(),
        }
    }

    /// Logs losses at a limited rate, their end, and warnings of the collector. `lost` is the number of all lost ones so
    /// far.
    pub(crate) fn report(&mut self, result: &Result<Accepted, String>, lost: u64) {
        let what = self.what;
        let is_due = self.last.is_none_or(|at| at.elapsed() >= BETWEEN_REPORTS);
        let is_complete = result.as_ref().is_ok_and(|accepted| accepted.rejected == 0);
        if lost > self.lost && is_due {
            let lost = lost - std::mem::replace(&mut self.lost, lost);
            self.last = Some(Instant::now());
            self.failing = true;
            match result {
                Ok(Accepted {
                    rejected: 1..,
                    message,
                }) => tracing::warn!(
                    lost,
                    error = message,
                    "{what} dropped: the collector rejected a part of a batch"
                ),
                Ok(_) => tracing::warn!(lost, "{what} dropped: the collector is too slow"),
                Err(error) => tracing::warn!(lost, error, "{what} dropped: the export failed"),
            }
        } else if is_complete && self.failing {
            self.failing = false;
            let lost = lost - std::mem::replace(&mut self.lost, lost);
            tracing::info!(lost, "the collector accepts {what} again");
        }
        let Ok(Accepted {
            rejected: 0,
            message,
        }) = result
        else {
            return;
        };
        if self.warnings.is_due(message) {
            tracing::warn!(
                warning = message,
                "the collector accepted {what} with a warning"
            );
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end of the queue. It never waits: while the queue is full, it drops spans.
#[derive(Clone, Debug)]
pub(crate) struct SpanQueue {
    batches: Arc<BatchSpanProcessor>,
    spans: Arc<Spans>,
}

impl SpanQueue {
    pub(crate) fn new(
        mut batches: BatchSpanProcessor,
        resource: &Resource,
        spans: Arc<Spans>,
    ) -> Self {
        batches.set_resource(resource);
        Self {
            batches: Arc::new(batches),
            spans,
        }
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.enter() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.spans.closed.store(true, Ordering::Relaxed);
        self.batches.shutdown_with_timeout(timeout)
    }
}

/// The receiving end of the queue, on the exporting thread.
#[derive(Debug)]
pub(crate) struct Reporting {
    client: Client,
    resource: ResourceAttributesWithSchema,
    spans: Arc<Spans>,
}

impl Reporting {
    pub(crate) fn new(client: Client, spans: Arc<Spans>) -> Self {
        Self {
            client,
            resource: ResourceAttributesWithSchema::default(),
            spans,
        }
    }
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.spans.leave(spans);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        // This may block: the exporting thread has nothing else to do, and is not a thread of a runtime.
        let result = self
            .client
            .send(&ExportTraceServiceRequest { resource_spans });
        self.spans.arrived(spans, &result);
        self.spans.report(&result);
        result.map(drop).map_err(OTelSdkError::InternalFailure)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
