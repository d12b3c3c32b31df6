//! Rules for a binary that does not use axum-chassis: lists the parts of the manifests that need it.

use serde_json::Value;

use super::Workload;
use crate::fault::Faults;
use crate::render::Overlay;

pub(super) fn check(overlay: &Overlay, workloads: &[Workload<'_>], faults: &mut Faults) {
    for workload in workloads {
        probes(workload, faults);
        mounts(workload, faults);
        variables(workload, faults);
    }
    let rules = overlay.of_kind("PrometheusRule");
    let dashboards = overlay.of_kind("ConfigMap").filter(|map| {
        let keys = map.at("/data").as_object().into_iter().flatten();
        keys.into_iter().any(|(key, _)| key.ends_with(".json"))
    });
    let scaled = overlay.of_kind("ScaledObject").filter(|object| {
        let triggers = object.list("/spec/triggers");
        triggers
            .iter()
            .any(|trigger| trigger["type"] == "prometheus")
    });
    for resource in rules.chain(dashboards).chain(scaled) {
        faults.add(
            &resource.file,
            "queries",
            "they query metrics of axum-chassis, which this binary does not expose",
            "rewrite them for the service's own metrics, or remove the component",
        );
    }
    for monitor in overlay.of_kind("ServiceMonitor") {
        faults.add(
            &monitor.file,
            "spec.endpoints",
            "Prometheus would scrape /metrics of axum-chassis's admin port, which this binary does not open",
            "name the port and path of its own metrics, or remove the component",
        );
    }
}

fn probes(workload: &Workload<'_>, faults: &mut Faults) {
    for name in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &workload.container[name]["httpGet"];
        let Some(path) = get["path"]
            .as_str()
            .filter(|path| path.starts_with("/health/"))
        else {
            continue;
        };
        faults.add(
            workload.file(),
            workload.field(&format!(".{name}.httpGet")),
            format!(
                "probes port {} for {path}, a route of axum-chassis",
                plain(&get["port"])
            ),
            "name a port and a path that return 200, or use a tcpSocket on port http",
        );
    }
}

fn mounts(workload: &Workload<'_>, faults: &mut Faults) {
    for mount in workload.container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        if ["/app/config", "/var/secrets"].contains(&path) {
            faults.add(
                workload.file(),
                workload.field(&format!(".volumeMounts[{}]", plain(&mount["name"]))),
                format!("{path} is the settings folder of services that use axum-chassis"),
                "mount it where the service looks, or remove the volume",
            );
        }
    }
}

fn variables(workload: &Workload<'_>, faults: &mut Faults) {
    let names = workload
        .inputs
        .env
        .keys()
        .filter(|name| name.starts_with("APP__") || *name == "RUN_ENV");
    let names: Vec<&str> = names.map(String::as_str).collect();
    if !names.is_empty() {
        faults.add(
            workload.file(),
            workload.field(".env"),
            format!("{}: variables that axum-chassis reads", names.join(", ")),
            "replace them with the service's own",
        );
    }
}

/// A port's name or number as text, without the quotes of JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
