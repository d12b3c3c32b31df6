//! Collects the metrics whose values are in other modules. They are read at each scrape.

use axum_chassis_server::Limits;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use crate::background::{BackgroundTasks, RunEnd, TaskState};
use crate::health::Readiness;
use crate::metrics::{InvalidMetric, Metrics};
use crate::shared::Shared;

/// Registers the metrics of the build, the machine, the limits, the log and the readiness checks.
pub(super) fn register(shared: &Shared) -> Result<(), InvalidMetric> {
    use tracing::Level;
    let Shared {
        build,
        metrics,
        readiness,
        tasks,
        logs,
        ..
    } = shared;
    metrics.build_info(&[
        ("name", build.name),
        ("version", build.version),
        ("revision", build.revision),
        ("rustc", build.rustc),
    ])?;
    metrics.machine()?;
    limits(metrics, &shared.limits)?;
    for (level, name) in [
        (Level::ERROR, "error"),
        (Level::WARN, "warn"),
        (Level::INFO, "info"),
        (Level::DEBUG, "debug"),
        (Level::TRACE, "trace"),
    ] {
        let logs = logs.clone();
        metrics.counter_fn(
            "log_lines_total",
            "Log lines produced.",
            &[("level", name)],
            move || logs.lines(level) as f64,
        )?;
    }
    let log = logs.clone();
    metrics.counter_fn(
        "log_lines_dropped_total",
        "Log lines dropped because the reader of the log was too slow.",
        &[],
        move || log.dropped() as f64,
    )?;
    let log = logs.clone();
    metrics.counter_fn(
        "panics_total",
        "Panics, in handlers and elsewhere.",
        &[],
        move || log.panics() as f64,
    )?;
    let ready = readiness.clone();
    metrics.gauge_fn(
        "readiness_ready",
        "Whether requests should be sent here: 1 or 0.",
        &[],
        move || f64::from(u8::from(ready.is_ready())),
    )?;
    metrics.register(Checks::new(readiness.clone())?)?;
    metrics.register(Background::new(tasks.clone())?)
}

/// Registers the limits on requests, and the bytes of request bodies in memory.
fn limits(metrics: &Metrics, limits: &Limits) -> Result<(), InvalidMetric> {
    type Read = fn(&Limits) -> u64;
    let gauges: [(&str, &str, Read); 3] = [
        (
            "http_server_buffered_bytes",
            "Bytes of request bodies in memory, but for the first 16 KiB of each.",
            Limits::buffered,
        ),
        (
            "http_server_buffered_limit_bytes",
            "The maximum size of all request bodies in memory: limits.buffered; 0 for any size.",
            Limits::buffered_limit,
        ),
        (
            "http_server_active_requests_limit",
            "The maximum number of concurrent requests: limits.concurrency; 0 for any number.",
            Limits::concurrency,
        ),
    ];
    for (name, help, read) in gauges {
        let limits = limits.clone();
        metrics.gauge_fn(name, help, &[], move || read(&limits) as f64)?;
    }
    Ok(())
}

/// The results of the readiness checks. The service may add checks at any time.
struct Checks {
    readiness: Readiness,
    up: IntGaugeVec,
    duration: GaugeVec,
    failures: IntCounterVec,
}

impl Checks {
    fn new(readiness: Readiness) -> Result<Self, InvalidMetric> {
        let create = || {
            let up = Opts::new(
                "readiness_check_up",
                "Whether a readiness check is up: 1 or 0.",
            );
            let duration = Opts::new(
                "readiness_check_duration_seconds",
                "The duration of the check's last run.",
            );
            let failures = Opts::new(
                "readiness_check_failures_total",
                "Runs of the check that failed.",
            );
            Ok(Self {
                readiness,
                up: IntGaugeVec::new(up, &["check"])?,
                duration: GaugeVec::new(duration, &["check"])?,
                failures: IntCounterVec::new(failures, &["check"])?,
            })
        };
        create().map_err(|error| InvalidMetric::new("readiness_check_up", error))
    }
}

impl Collector for Checks {
    fn desc(&self) -> Vec<&Desc> {
        [self.up.desc(), self.duration.desc(), self.failures.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (name, check) in self.readiness.report().checks {
            let name = [name.as_str()];
            self.up.with_label_values(&name).set(i64::from(check.up));
            self.duration
                .with_label_values(&name)
                .set(check.took.as_secs_f64());
            let failures = self.failures.with_label_values(&name);
            failures.inc_by(check.failures_total.saturating_sub(failures.get()));
        }
        [
            self.up.collect(),
            self.duration.collect(),
            self.failures.collect(),
        ]
        .concat()
    }
}

/// The background tasks. The service may add tasks at any time. Tasks with the same name are counted together.
struct Background {
    tasks: BackgroundTasks,
    running: IntGaugeVec,
    ends: IntCounterVec,
}

impl Background {
    fn new(tasks: BackgroundTasks) -> Result<Self, InvalidMetric> {
        let create = || {
            let running = Opts::new(
                "background_task_running",
                "The number of running background tasks of this name, without those that wait for a restart.",
            );
            let ends = Opts::new(
                "background_task_ends_total",
                "Ended runs of background tasks, by outcome.",
            );
            Ok(Self {
                tasks,
                running: IntGaugeVec::new(running, &["task"])?,
                ends: IntCounterVec::new(ends, &["task", "outcome"])?,
            })
        };
        create().map_err(|error| InvalidMetric::new("background_task_running", error))
    }
}

impl Collector for Background {
    fn desc(&self) -> Vec<&Desc> {
        [self.running.desc(), self.ends.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let tasks = self.tasks.report();
        // Most services have no background tasks, and then the metrics are left out.
        if tasks.is_empty() {
            return Vec::new();
        }
        self.running.reset();
        self.ends.reset();
        for task in tasks {
            let running = self.running.with_label_values(&[&task.name]);
            running.add(i64::from(task.state == TaskState::Running));
            for end in RunEnd::ALL {
                let ends = self.ends.with_label_values(&[&*task.name, end.word()]);
                ends.inc_by(task.ends.get(&end).copied().unwrap_or_default());
            }
        }
        [self.running.collect(), self.ends.collect()].concat()
    }
}
