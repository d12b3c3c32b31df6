//! The bounded queue of spans for the collector. It counts and reports dropped spans.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use crate::Counts;

/// The minimum time between two log lines about lost spans.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);

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
    /// The error of the last rejected batch.
    problem: Mutex<Option<String>>,
    reports: Mutex<Reports>,
}

#[derive(Debug, Default)]
struct Reports {
    last: Option<Instant>,
    /// The number of lost spans that have been reported.
    lost: u64,
    failing: bool,
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
            problem: Mutex::default(),
            reports: Mutex::default(),
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

    pub(crate) fn set_problem(&self, problem: String) {
        *lock(&self.problem) = Some(problem);
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

    fn arrived(&self, spans: usize, result: &OTelSdkResult) {
        self.under_way.store(0, Ordering::Relaxed);
        let count = if result.is_ok() {
            &self.exported
        } else {
            &self.refused
        };
        count.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Logs dropped spans at a limited rate, and the end of the losses.
    fn report(&self, result: &OTelSdkResult) {
        let Counts {
            no_room, refused, ..
        } = self.counts();
        let lost = no_room + refused;
        let mut reports = lock(&self.reports);
        let due = reports
            .last
            .is_none_or(|last| last.elapsed() >= BETWEEN_REPORTS);
        if lost > reports.lost && due {
            let new = lost - reports.lost;
            *reports = Reports {
                last: Some(Instant::now()),
                lost,
                failing: true,
            };
            match result {
                Ok(()) => {
                    tracing::warn!(lost = new, "spans dropped: the collector is too slow")
                }
                Err(error) => {
                    let problem = lock(&self.problem).take();
                    let error = problem.unwrap_or_else(|| error.to_string());
                    tracing::warn!(lost = new, error, "spans dropped: the export failed");
                }
            }
        } else if result.is_ok() && reports.failing {
            reports.failing = false;
            let lost = lost - std::mem::replace(&mut reports.lost, lost);
            tracing::info!(lost, "the collector accepts spans again");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
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
    exporter: opentelemetry_otlp::SpanExporter,
    spans: Arc<Spans>,
}

impl Reporting {
    pub(crate) fn new(exporter: opentelemetry_otlp::SpanExporter, spans: Arc<Spans>) -> Self {
        Self { exporter, spans }
    }
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.spans.leave(spans);
        let result = self.exporter.export(batch).await;
        self.spans.arrived(spans, &result);
        self.spans.report(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
