//! Metrics of the process, the container and the tokio runtime.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_chassis_server::cgroup::Cgroup;
use prometheus::proto::MetricType::{self, COUNTER, GAUGE};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::{InvalidMetric, Metrics};

type Result = std::result::Result<(), InvalidMetric>;

/// The unit of CPU time in `/proc`, on all architectures of Linux servers.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds `process_*`, with the names that all Prometheus clients use.
///
/// `prometheus` has a collector of the same. It needs the crate procfs, and counts CPU time in whole seconds.
pub(super) fn process(metrics: &Metrics) -> Result {
    if ProcessStat::read().is_none() {
        return Ok(()); // not Linux
    }
    let started = started();
    metrics.gauge_fn(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        &[],
        move || started,
    )?;
    metrics.counter_fn(
        "process_cpu_seconds_total",
        "User and system CPU time of the process.",
        &[],
        or_last(|| Some(ProcessStat::read()?.cpu_seconds)),
    )?;
    type Read = fn() -> f64;
    let values: [(&str, &str, Read); 5] = [
        ("process_threads", "Threads of the process.", || {
            ProcessStat::get(|stat| stat.threads)
        }),
        (
            "process_virtual_memory_bytes",
            "Virtual memory of the process.",
            || ProcessStat::get(|stat| stat.virtual_bytes),
        ),
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            resident_bytes,
        ),
        ("process_open_fds", "Open file descriptors.", open_fds),
        (
            "process_max_fds",
            "The maximum number of open file descriptors.",
            max_fds,
        ),
    ];
    for (name, help, read) in values {
        metrics.gauge_fn(name, help, &[], read)?;
    }
    Ok(())
}

/// Adds the metrics of `cgroup_*` that have a value.
pub(super) fn cgroup(metrics: &Metrics) -> Result {
    type Read = fn(&Cgroup) -> Option<f64>;
    let values: [(MetricType, &str, &str, Read); 6] = [
        (
            GAUGE,
            "cgroup_cpu_quota_cores",
            "The CPU quota of the container.",
            |cgroup| Some(cgroup.cpu_quota()?.cores),
        ),
        (
            GAUGE,
            "cgroup_memory_limit_bytes",
            "The memory limit of the container.",
            |cgroup| Some(cgroup.memory_limit()?.bytes as f64),
        ),
        (
            GAUGE,
            "cgroup_memory_usage_bytes",
            "The memory that the container uses, including its page cache.",
            |cgroup| Some(cgroup.memory_usage()? as f64),
        ),
        (
            COUNTER,
            "cgroup_cpu_periods_total",
            "Periods in which the CPU quota was enforced.",
            |cgroup| Some(cgroup.throttling()?.periods as f64),
        ),
        (
            COUNTER,
            "cgroup_cpu_throttled_periods_total",
            "Periods in which the CPU quota was used up.",
            |cgroup| Some(cgroup.throttling()?.throttled_periods as f64),
        ),
        (
            COUNTER,
            "cgroup_cpu_throttled_seconds_total",
            "The time for which threads were throttled because the CPU quota was used up.",
            |cgroup| Some(cgroup.throttling()?.throttled_seconds),
        ),
    ];
    let cgroup = Cgroup::current();
    for (kind, name, help, read) in values {
        if read(&cgroup).is_none() {
            continue;
        }
        let cgroup = cgroup.clone();
        if kind == COUNTER {
            metrics.counter_fn(name, help, &[], or_last(move || read(&cgroup)))?;
            continue;
        }
        // The limits are read at each scrape, because Kubernetes resizes containers in place. A limit that has been removed
        // is infinity.
        metrics.gauge_fn(name, help, &[], move || {
            read(&cgroup).unwrap_or(f64::INFINITY)
        })?;
    }
    Ok(())
}

/// Adds `tokio_*`.
pub(super) fn runtime(metrics: &Metrics, handle: &Handle) -> Result {
    type Read = fn(&RuntimeMetrics) -> usize;
    let gauges: [(&str, &str, Read); 3] = [
        (
            "tokio_workers",
            "Worker threads of the service's runtime.",
            RuntimeMetrics::num_workers,
        ),
        (
            "tokio_alive_tasks",
            "Tasks of the service's runtime that have not ended.",
            RuntimeMetrics::num_alive_tasks,
        ),
        (
            "tokio_global_queue_depth",
            "Tasks that wait in the runtime's global queue.",
            RuntimeMetrics::global_queue_depth,
        ),
    ];
    for (name, help, read) in gauges {
        let runtime = handle.metrics();
        metrics.gauge_fn(name, help, &[], move || read(&runtime) as f64)?;
    }
    Ok(())
}

/// Reads a counter. If the value is not available, for example because the process has no file descriptor left, this
/// returns the last value: a smaller one would mean that the counter began again, and the next one would be added to
/// the total once more.
fn or_last(read: impl Fn() -> Option<f64> + Send + Sync) -> impl Fn() -> f64 + Send + Sync {
    let last = AtomicU64::new(0.0_f64.to_bits());
    move || match read() {
        Some(value) => {
            last.store(value.to_bits(), Ordering::Relaxed);
            value
        }
        None => f64::from_bits(last.load(Ordering::Relaxed)),
    }
}

/// A part of `/proc/self/stat`.
struct ProcessStat {
    cpu_seconds: f64,
    threads: f64,
    started_ticks: f64,
    virtual_bytes: f64,
}

// === impl ProcessStat ===

impl ProcessStat {
    /// One of its values now.
    fn get(value: fn(&Self) -> f64) -> f64 {
        Self::read().as_ref().map_or(0.0, value)
    }

    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The second field is a name in parentheses, which may contain spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts fields from 1, and `rest` starts at the third one.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
        })
    }
}

/// Reads the resident memory from the line `VmRSS: 3132 kB`. Unlike the value in `stat`, it does not depend on the page
/// size.
fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let rest = line.strip_prefix("VmRSS:")?.trim();
        rest.strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    resident.unwrap_or_default() * 1024.0
}

fn started() -> f64 {
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let since = uptime.as_deref().and_then(|text| {
        let uptime: f64 = text.split_whitespace().next()?.parse().ok()?;
        let age = uptime - ProcessStat::read()?.started_ticks / TICKS_PER_SECOND;
        Duration::try_from_secs_f64(age).ok()
    });
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(since.unwrap_or_default()).as_secs_f64()
}

fn open_fds() -> f64 {
    fs::read_dir("/proc/self/fd").map_or(0.0, |open| open.count() as f64)
}

/// Reads the soft limit from the line `Max open files SOFT HARD files`.
fn max_fds() -> f64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| {
        let rest = line.strip_prefix("Max open files")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    soft.unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_cannot_be_read_keeps_its_value() {
        let values = [Some(3.5), None, Some(4.0), None];
        let next = AtomicU64::new(0);
        let read = or_last(move || values[next.fetch_add(1, Ordering::Relaxed) as usize]);
        assert_eq!([read(), read(), read(), read()], [3.5, 3.5, 4.0, 4.0]);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1000 8192000 500 184";
        let process = ProcessStat::parse(stat).expect("a stat line");
        assert_eq!(process.cpu_seconds, 3.0);
        assert_eq!(process.threads, 4.0);
        assert_eq!(process.started_ticks, 1000.0);
        assert_eq!(process.virtual_bytes, 8_192_000.0);
    }
}
