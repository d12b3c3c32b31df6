//! Rules for pods: restricted security context, grace period and resources.

use serde_json::json;

use super::{Workload, quantity};
use crate::binary::Live;
use crate::fault::Faults;

pub(super) fn check(workload: &Workload<'_>, live: Option<&Live>, faults: &mut Faults) {
    restricted(workload, faults);
    ports(workload, faults);
    ending(workload, faults);
    resources(workload, faults);
    sizes(workload, live, faults);
    room(workload, faults);
    rollout(workload, faults);
}

/// The pod satisfies Pod Security's level *restricted*, and its root file system is read-only.
fn restricted(workload: &Workload<'_>, faults: &mut Faults) {
    let pod = workload
        .deployment
        .at("/spec/template/spec/securityContext");
    let own = &workload.container["securityContext"];
    // A container's own setting overrides its pod's.
    let either = |key: &str| {
        if own[key].is_null() {
            &pod[key]
        } else {
            &own[key]
        }
    };
    let wanted = [
        ("runAsNonRoot", either("runAsNonRoot"), json!(true)),
        (
            "allowPrivilegeEscalation",
            &own["allowPrivilegeEscalation"],
            json!(false),
        ),
        (
            "readOnlyRootFilesystem",
            &own["readOnlyRootFilesystem"],
            json!(true),
        ),
        (
            "capabilities.drop",
            &own["capabilities"]["drop"],
            json!(["ALL"]),
        ),
        (
            "seccompProfile.type",
            &either("seccompProfile")["type"],
            json!("RuntimeDefault"),
        ),
    ];
    for (key, value, wanted) in wanted {
        if *value != wanted {
            faults.add(
                workload.file(),
                workload.field(&format!(".securityContext.{key}")),
                format!("is {value}, which Pod Security \"restricted\" or a read-only image does not allow"),
                format!("set it to {wanted}"),
            );
        }
    }
    if workload
        .deployment
        .at("/spec/template/spec/automountServiceAccountToken")
        != &json!(false)
    {
        faults.add(
            workload.file(),
            "spec.template.spec.automountServiceAccountToken",
            "a token for the API server is mounted, which the service does not need",
            "set it to false",
        );
    }
}

/// The declared ports are those that the binary opens.
fn ports(workload: &Workload<'_>, faults: &mut Faults) {
    if workload.settings.is_null() {
        return;
    }
    for (name, key) in [("http", "server.port"), ("admin", "admin.port")] {
        let opened = workload.setting(key);
        let declared = workload.port(&name.into());
        if declared != opened.as_u64() {
            faults.add(
                workload.file(),
                workload.field(&format!(".ports[{name}].containerPort")),
                match declared {
                    Some(port) => format!("is {port}, but the service opens {opened} ({key})"),
                    None => format!(
                        "there is no port named {name}, and the service opens {opened} ({key})"
                    ),
                },
                format!("declare port {opened} as {name}, or set {key}"),
            );
        }
    }
}

/// The grace period must be longer than `shutdown.deadline`, which includes the delay and the draining.
fn ending(workload: &Workload<'_>, faults: &mut Faults) {
    let Some(deadline) = workload.seconds("shutdown.deadline") else {
        return;
    };
    // The default in a cluster is five seconds.
    let delay = workload.seconds("shutdown.delay").unwrap_or(5.0);
    let hook = &workload.container["lifecycle"]["preStop"];
    let sleep = hook["sleep"]["seconds"].as_f64().unwrap_or(0.0);
    let grace = workload
        .deployment
        .at("/spec/template/spec/terminationGracePeriodSeconds")
        .as_f64()
        .unwrap_or(30.0);
    if grace <= sleep + deadline {
        let before = if sleep > 0.0 {
            format!(" after {sleep}s of preStop")
        } else {
            String::new()
        };
        faults.add(
            workload.file(),
            "spec.template.spec.terminationGracePeriodSeconds",
            format!("is {grace}s, but the service may take shutdown.deadline = {deadline}s{before}, and is killed before it is done"),
            format!("set it to {} or more, or lower shutdown.deadline", sleep + deadline + 5.0),
        );
    }
    if delay >= deadline {
        faults.add(
            workload.file(),
            "settings: shutdown.deadline",
            format!("is {deadline}s and covers shutdown.delay = {delay}s: nothing is left for requests in flight"),
            format!("raise shutdown.deadline well above {delay}s"),
        );
    }
    if !hook["exec"].is_null() {
        faults.add(
            workload.file(),
            workload.field(".lifecycle.preStop.exec"),
            "runs a program, but the image contains only the service",
            "remove it: shutdown.delay keeps the service serving while it leaves the endpoints",
        );
    }
}

fn resources(workload: &Workload<'_>, faults: &mut Faults) {
    let resources = &workload.container["resources"];
    for (field, why) in [
        ("/requests/cpu", "the scheduler and the autoscaler use it"),
        (
            "/requests/memory",
            "without it the pod is among the first to be evicted",
        ),
        (
            "/limits/memory",
            "without it one pod can take the node's memory",
        ),
    ] {
        if resources.pointer(field).and_then(quantity).is_none() {
            faults.add(
                workload.file(),
                workload.field(&format!(".resources{}", field.replace('/', "."))),
                format!("is not set, and {why}"),
                "set it; `kubectl top pod` or the vpa component shows a suitable value",
            );
        }
    }
    let limit = quantity(&resources["limits"]["cpu"]);
    let threads = workload.setting("service.threads").as_u64();
    if limit.is_none() && threads == Some(0) {
        faults.add(
            workload.file(),
            workload.field(".resources.limits.cpu"),
            "is not set and service.threads is 0: there would be a worker thread for each core of the node",
            "set it to a whole number of cores, or set APP__SERVICE__THREADS",
        );
    }
}

/// A container's resource requests must not exceed its limits, because the API server would reject the pod. The memory
/// limit must exceed the service's memory right after the start.
fn sizes(workload: &Workload<'_>, live: Option<&Live>, faults: &mut Faults) {
    let resources = &workload.container["resources"];
    let size = |kind: &str, name: &str| quantity(&resources[kind][name]);
    for name in ["cpu", "memory"] {
        if let (Some(request), Some(limit)) = (size("requests", name), size("limits", name))
            && request > limit
        {
            faults.add(
                workload.file(),
                workload.field(&format!(".resources.requests.{name}")),
                format!(
                    "is {}, above the limit of {}: the API server refuses such a pod",
                    resources["requests"][name], resources["limits"][name]
                ),
                "lower it to the limit, or raise the limit",
            );
        }
    }
    if let (Some(limit), Some(used)) = (size("limits", "memory"), live.and_then(Live::memory))
        && limit <= used
    {
        faults.add(
            workload.file(),
            workload.field(".resources.limits.memory"),
            format!(
                "is {}, and the service holds {:.0} KiB as soon as it has started",
                resources["limits"]["memory"],
                used / 1024.0
            ),
            "raise it well above that; `kubectl top pod` or the vpa component shows a suitable value",
        );
    }
}

/// Limits in the settings have to fit the container's memory limit. Unset ones are computed from the memory limit, so
/// they always fit.
fn room(workload: &Workload<'_>, faults: &mut Faults) {
    const KIB: f64 = 1024.0;
    let memory = &workload.container["resources"]["limits"]["memory"];
    let Some(limit) = quantity(memory) else {
        return;
    };
    let number = |key: &str| workload.setting(key).as_f64();
    // Kubernetes writes `32MiB` as `32Mi`.
    let size = workload.setting("limits.buffered").as_str();
    let size = size.and_then(|size| quantity(&json!(size.trim_end_matches('B'))));
    for (key, bytes, share, why) in [
        (
            "server.max_connections",
            number("server.max_connections").map(|number| number * 128.0 * KIB),
            1.0,
            "connections with the largest heads and a body behind each, 128 KiB",
        ),
        (
            "limits.concurrency",
            number("limits.concurrency").map(|number| number * 64.0 * KIB),
            1.0,
            "requests of HTTP/2 with full windows, 64 KiB each",
        ),
        ("limits.buffered", size, 0.5, "bodies of requests"),
    ] {
        let Some(bytes) = bytes.filter(|bytes| *bytes > share * limit) else {
            continue;
        };
        faults.add(
            workload.file(),
            workload.field(".resources.limits.memory"),
            format!(
                "is {memory}, and {key} lets {why}, take {:.0} MiB",
                bytes / KIB / KIB
            ),
            format!(
                "leave {key} unset, so that it follows from the memory limit; or raise the limit"
            ),
        );
    }
}

fn rollout(workload: &Workload<'_>, faults: &mut Faults) {
    // With SQLite, the old pod has to stop before the new one starts.
    if workload.sqlite.is_some() {
        return;
    }
    let strategy = workload.deployment.at("/spec/strategy");
    if strategy["type"] == "Recreate" || strategy["rollingUpdate"]["maxUnavailable"] != json!(0) {
        faults.add(
            workload.file(),
            "spec.strategy.rollingUpdate.maxUnavailable",
            "a rolling update may take serving pods away before new ones are ready",
            "set type RollingUpdate with maxUnavailable 0 and maxSurge 1",
        );
    }
}
