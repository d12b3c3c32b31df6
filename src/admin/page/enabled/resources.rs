//! Resource usage and limits of the process: CPU, memory, connections, and the runtime's queue.

use serde::Serialize;

use super::samples::{Interval, Snapshot};
use crate::admin::Admin;
use crate::metrics::http::RESPONSE_BYTES;

/// One resource.
#[derive(Serialize)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) limit: Option<f64>,
    /// `bytes`, `cores`, or an empty text for a count.
    pub(super) unit: &'static str,
    /// The reason for the value, if it was computed.
    pub(super) why: Option<String>,
}

pub(super) fn of(admin: &Admin, now: &Snapshot, last: Option<&Interval>) -> Vec<Resource> {
    let quota = "cgroup_cpu_quota_cores";
    let mut resources = vec![Resource {
        name: "CPU".to_owned(),
        value: last.map_or(0.0, |last| last.cpu_cores),
        limit: now.value(quota).or_else(|| now.value("tokio_workers")),
        unit: "cores",
        why: None,
    }];
    for (name, metric, limit, unit) in [
        (
            "Memory",
            "process_resident_memory_bytes",
            "cgroup_memory_limit_bytes",
            "bytes",
        ),
        ("Open files", "process_open_fds", "process_max_fds", ""),
        ("Connections", "http_server_connections", "", ""),
        ("Requests in flight", "http_server_active_requests", "", ""),
        ("Requests shed", "http_server_requests_shed_total", "", ""),
        ("Sent in answers", RESPONSE_BYTES, "", "bytes"),
        ("Worker threads", "tokio_workers", "", ""),
        ("Tasks", "tokio_alive_tasks", "", ""),
        ("Queue", "tokio_global_queue_depth", "", ""),
        ("Panics", "panics_total", "", ""),
        ("Log lines dropped", "log_lines_dropped_total", "", ""),
    ] {
        if let Some(value) = now.value(metric) {
            resources.push(Resource {
                name: name.to_owned(),
                value,
                limit: now.value(limit),
                unit,
                why: (metric == "tokio_workers")
                    .then(|| admin.page.threads.get().cloned())
                    .flatten(),
            });
        }
    }
    for (name, value) in now.gauges("db_client_connection") {
        resources.push(Resource {
            name,
            value,
            limit: None,
            unit: "",
            why: None,
        });
    }
    resources
}
