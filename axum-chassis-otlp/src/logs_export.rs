//! [`LogsExport`], which sends the lines of the log to a collector.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum_chassis::logs::{LineReader, Logs};
use axum_chassis::{Chassis, Error, Exporter};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio::sync::watch;

use crate::client::{Client, refused};
use crate::convert::now_nanos;
use crate::log_record::record;
use crate::queue::{Reports, lock};
use crate::resource::{encoded, resource, scope};
use crate::variables::{self, LogVariables};

/// The export of this process's log: each line that is written to the output, as a log record. Cheap to clone; clones
/// share their state.
///
/// [`Otlp`](crate::Otlp) contains it. In a program without a [`Server`](axum_chassis::Server), call
/// [`start`](Self::start) and [`flush`](Self::flush).
///
/// A thread of its own converts and sends lines that are formatted anyway, so requests cost the same with and without
/// the export. Lines that wait for the collector share the memory limit `logs.buffer` with those that wait for the output.
#[derive(Clone)]
pub struct LogsExport(Option<Arc<LogExport>>);

struct LogExport {
    variables: LogVariables,
    name: &'static str,
    version: &'static str,
    counts: Arc<LogCounts>,
    stopping: watch::Sender<bool>,
    /// `None` before the start, and if the log has no JSON lines.
    reader: Mutex<Option<Arc<LineReader>>>,
    /// Callers of `flush` that wait.
    flushes: Arc<Mutex<Vec<mpsc::Sender<()>>>>,
    /// The last flush did not complete in time.
    is_late: AtomicBool,
}

#[derive(Debug, Default)]
struct LogCounts {
    exported: AtomicU64,
    refused: AtomicU64,
}

impl LogsExport {
    /// Reads OpenTelemetry's environment variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Without an endpoint, nothing
    /// is exported. `name` and `version` are the defaults of the service's resource attributes.
    ///
    /// # Errors
    /// [`Error::Settings`] with one line for each invalid variable.
    pub fn from_env(name: &'static str, version: &'static str) -> Result<Self, Error> {
        let variables = variables::logs(&|name| std::env::var_os(name))
            .map_err(|invalid| Error::Settings(invalid.into()))?;
        Ok(Self(variables.map(|variables| {
            Arc::new(LogExport {
                variables,
                name,
                version,
                counts: Arc::default(),
                stopping: watch::Sender::new(false),
                reader: Mutex::default(),
                flushes: Arc::default(),
                is_late: AtomicBool::new(false),
            })
        })))
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the exporting thread, for the lines of these logs from now on. If the log's format is text, this logs a
    /// warning, and nothing is exported. A `Service` and a `Server` call this. Call it once.
    ///
    /// # Errors
    /// If the operating system refuses a resource that the export needs, such as the thread.
    pub fn start(&self, logs: &Logs) -> io::Result<()> {
        match &self.0 {
            Some(export) => export.start(logs),
            None => Ok(()),
        }
    }

    /// Exports all lines so far, for at most `within`. If the collector does not accept them in time, this is logged.
    /// From the first call on, failed exports are not retried. A `Service` and a `Server` call this at the end of their
    /// shutdown.
    ///
    /// # Panics
    /// Outside of a tokio runtime with enabled timers.
    pub async fn flush(&self, within: Duration) {
        if let Some(export) = self.0.clone() {
            // The thread that waits ends after `within`.
            let _ = tokio::task::spawn_blocking(move || export.flush(within)).await;
        }
    }
}

impl Exporter for LogsExport {
    fn is_on(&self) -> bool {
        self.is_on()
    }

    fn read(&self, logs: &Logs) -> anyhow::Result<()> {
        Ok(self.start(logs)?)
    }

    fn attach(&self, chassis: &Chassis<()>) -> anyhow::Result<()> {
        let Some(export) = &self.0 else {
            return Ok(());
        };
        let metrics = chassis.metrics();
        let counts = export.counts.clone();
        metrics.counter_fn(
            "log_records_exported_total",
            "Log records that the collector accepted.",
            &[],
            move || counts.exported.load(Ordering::Relaxed) as f64,
        )?;
        let name = "log_records_dropped_total";
        let help = "Log records that were lost: no room in the queue, or the collector did not accept them.";
        let reader = export.reader();
        let no_room = move || {
            reader
                .as_ref()
                .map_or(0.0, |reader| reader.dropped() as f64)
        };
        metrics.counter_fn(name, help, &[("reason", "no_room")], no_room)?;
        let counts = export.counts.clone();
        let refused = move || counts.refused.load(Ordering::Relaxed) as f64;
        metrics.counter_fn(name, help, &[("reason", "refused")], refused)?;
        Ok(())
    }

    async fn flush(&self, within: Duration) {
        self.flush(within).await;
    }

    fn end(&self, within: Duration) {
        if let Some(export) = &self.0
            && !export.is_late.load(Ordering::Relaxed)
        {
            export.flush(within);
        }
    }
}

impl fmt::Debug for LogsExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogsExport")
            .field("is_on", &self.is_on())
            .finish_non_exhaustive()
    }
}

// === impl LogExport ===

impl LogExport {
    fn start(&self, logs: &Logs) -> io::Result<()> {
        let Some(reader) = logs.reader() else {
            tracing::warn!(
                "logs are not exported: their format is text; set logs.format to json, or OTEL_LOGS_EXPORTER to none"
            );
            return Ok(());
        };
        let reader = Arc::new(reader);
        let variables = &self.variables;
        let resource = resource(&variables.resource, self.name, self.version);
        let thread = LogThread {
            client: Client::new(variables.collector.clone(), self.stopping.subscribe())?,
            reader: reader.clone(),
            resource: (&resource).into(),
            delay: variables.delay,
            batch: variables.batch,
            counts: self.counts.clone(),
            flushes: self.flushes.clone(),
            reports: Reports::new("log records"),
        };
        std::thread::Builder::new()
            .name("otlp-logs".to_owned())
            .spawn(move || thread.run())?;
        *lock(&self.reader) = Some(reader);
        tracing::info!(endpoint = %variables.collector.endpoint, "exporting logs");
        Ok(())
    }

    fn reader(&self) -> Option<Arc<LineReader>> {
        lock(&self.reader).clone()
    }

    /// Blocks until all lines so far are exported, for at most `within`.
    fn flush(&self, within: Duration) {
        let Some(reader) = self.reader() else {
            return;
        };
        self.stopping.send_replace(true);
        let (done, is_done) = mpsc::channel();
        lock(&self.flushes).push(done);
        reader.hurry();
        if is_done.recv_timeout(within).is_err() {
            self.is_late.store(true, Ordering::Relaxed);
            tracing::warn!(
                timeout_ms = within.as_millis() as u64,
                "log records not exported before the timeout"
            );
        }
    }
}

struct LogThread {
    client: Client,
    reader: Arc<LineReader>,
    resource: ResourceAttributesWithSchema,
    delay: Duration,
    /// The maximum number of records in one request to the collector.
    batch: usize,
    counts: Arc<LogCounts>,
    flushes: Arc<Mutex<Vec<mpsc::Sender<()>>>>,
    /// Their rate is limited, because each report is exported too.
    reports: Reports,
}

impl LogThread {
    fn run(mut self) {
        let mut lines = Vec::new();
        loop {
            self.reader.take(&mut lines, self.delay);
            // A flush that begins later hurries the next `take`.
            let flushes = std::mem::take(&mut *lock(&self.flushes));
            self.export(&lines);
            if !flushes.is_empty() {
                // Lines that the log received between `take` and the flush.
                self.reader.hurry();
                self.reader.take(&mut lines, self.delay);
                self.export(&lines);
            }
            for done in flushes {
                // An error means that the flush has timed out.
                let _ = done.send(());
            }
        }
    }

    fn export(&mut self, lines: &[u8]) {
        let observed = now_nanos();
        let mut lines = lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .peekable();
        while lines.peek().is_some() {
            let batch = lines.by_ref().take(self.batch);
            self.send(ScopeLogs {
                scope: Some(scope()),
                log_records: batch.map(|line| record(line, observed)).collect(),
                ..ScopeLogs::default()
            });
        }
    }

    fn send(&mut self, records: ScopeLogs) {
        let sent = records.log_records.len() as u64;
        let result = self.client.send(&ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(encoded(&self.resource)),
                scope_logs: vec![records],
                ..ResourceLogs::default()
            }],
        });
        let refused = refused(&result, sent);
        self.counts.refused.fetch_add(refused, Ordering::Relaxed);
        self.counts
            .exported
            .fetch_add(sent - refused, Ordering::Relaxed);
        let lost = self.counts.refused.load(Ordering::Relaxed) + self.reader.dropped();
        self.reports.report(&result, lost);
    }
}
