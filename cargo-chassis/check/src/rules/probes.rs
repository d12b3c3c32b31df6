//! Rules for probes and scrapes: each requests a path that the binary serves.

use serde_json::Value;

use super::Workload;
use crate::binary::Live;
use crate::fault::Faults;

pub(super) fn check(
    workload: &Workload<'_>,
    live: Option<&Live>,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    probes(workload, live, faults)?;
    scrape_annotations(workload, live, faults)
}

fn probes(workload: &Workload<'_>, live: Option<&Live>, faults: &mut Faults) -> anyhow::Result<()> {
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &workload.container[probe]["httpGet"];
        let field = workload.field(&format!(".{probe}"));
        let Some(path) = get["path"].as_str() else {
            faults.add(
                workload.file(),
                field,
                "is missing, or is not an HTTP probe",
                format!(
                    "httpGet /health/{} on port admin",
                    probe.trim_end_matches("Probe")
                ),
            );
            continue;
        };
        let Some(port) = workload.port(&get["port"]) else {
            faults.add(
                workload.file(),
                format!("{field}.httpGet.port"),
                format!(
                    "the container has no port {}: it has {}",
                    get["port"],
                    workload.ports()
                ),
                "name port admin",
            );
            continue;
        };
        let answer = workload.answer(live, port, path)?;
        // 503 is a valid response too, because the dependencies of readiness are not available here.
        if answer.is_some_and(|status| status != 200 && status != 503) {
            faults.add(
                workload.file(),
                format!("{field}.httpGet.path"),
                format!(
                    "{path} on port {port} returns {}",
                    answer.unwrap_or_default()
                ),
                "use /health/startup, /health/liveness or /health/readiness on port admin",
            );
        }
        if probe == "livenessProbe" && path.contains("readiness") {
            faults.add(
                workload.file(),
                format!("{field}.httpGet.path"),
                "restarts the pod when something it depends on is down",
                "ask for /health/liveness",
            );
        }
    }
    startup_budget(workload, faults);
    Ok(())
}

fn startup_budget(workload: &Workload<'_>, faults: &mut Faults) {
    let probe = &workload.container["startupProbe"];
    let Some(start) = workload.seconds("service.start_timeout") else {
        return;
    };
    if probe.is_null() {
        return;
    }
    let number = |key: &str, usual: f64| probe[key].as_f64().unwrap_or(usual);
    let (period, failures) = (
        number("periodSeconds", 10.0),
        number("failureThreshold", 3.0),
    );
    let budget = number("initialDelaySeconds", 0.0) + period * failures;
    if budget < start {
        faults.add(
            workload.file(),
            workload.field(".startupProbe.failureThreshold"),
            format!(
                "fails after {budget}s, but the service may take service.start_timeout = {start}s"
            ),
            format!("set it to {} or more", (start / period).ceil()),
        );
    }
}

/// Checks the annotations by which some installations of Prometheus discover pods.
fn scrape_annotations(
    workload: &Workload<'_>,
    live: Option<&Live>,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let annotations = workload
        .deployment
        .at("/spec/template/metadata/annotations");
    if annotations["prometheus.io/scrape"] != "true" {
        return Ok(());
    }
    let number = annotations["prometheus.io/port"]
        .as_str()
        .and_then(|port| port.parse::<u64>().ok());
    let port = number.and_then(|port| workload.port(&Value::from(port)));
    let path = annotations["prometheus.io/path"]
        .as_str()
        .unwrap_or("/metrics");
    let answer = match port {
        Some(port) => workload.answer(live, port, path)?,
        None => Some(0),
    };
    if answer.is_some_and(|status| status != 200) {
        let key = if port.is_none() {
            "prometheus.io/port"
        } else {
            "prometheus.io/path"
        };
        faults.add(
            workload.file(),
            format!("spec.template.metadata.annotations[{key}]"),
            format!("nothing is scraped there: {}", annotations[key]),
            "port 9090 (admin.port), path /metrics",
        );
    }
    Ok(())
}
