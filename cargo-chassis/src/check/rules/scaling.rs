//! Numbers of pods: autoscalers have what they reckon with, and leave each other alone; drains can go on.

use serde_json::{Value, json};

use super::queries::Adapter;
use super::{Workload, selects};
use crate::Check;
use crate::check::fault::Faults;
use crate::check::render::{Overlay, Resource};

pub(super) fn check(
    check: &Check,
    overlay: &Overlay,
    workloads: &[Workload<'_>],
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let adapter = Adapter::read(check)?;
    for hpa in overlay.of_kind("HorizontalPodAutoscaler") {
        autoscaler(hpa, workloads, adapter.as_ref(), faults);
    }
    for vpa in overlay.of_kind("VerticalPodAutoscaler") {
        vertical(overlay, vpa, workloads, faults);
    }
    for workload in workloads {
        disruption(overlay, workload, faults);
    }
    for budget in overlay.of_kind("PodDisruptionBudget") {
        let selector = budget.at("/spec/selector/matchLabels");
        if !workloads
            .iter()
            .any(|workload| selects(selector, workload.labels()))
        {
            faults.add(
                &budget.file,
                "spec.selector.matchLabels",
                format!("{selector} protects no pod"),
                "use the labels of the Deployment's pods",
            );
        }
    }
    Ok(())
}

fn target<'a, 'b>(reference: &Value, workloads: &'b [Workload<'a>]) -> Option<&'b Workload<'a>> {
    let named = |workload: &&Workload<'_>| {
        reference["kind"] == "Deployment" && reference["name"] == workload.deployment.name()
    };
    workloads.iter().find(named)
}

fn autoscaler(
    hpa: &Resource,
    workloads: &[Workload<'_>],
    adapter: Option<&Adapter>,
    faults: &mut Faults,
) {
    let reference = hpa.at("/spec/scaleTargetRef");
    let Some(workload) = target(reference, workloads) else {
        faults.add(
            &hpa.file,
            "spec.scaleTargetRef.name",
            format!("there is no {} {}", reference["kind"], reference["name"]),
            "name the Deployment",
        );
        return;
    };
    if !workload.deployment.at("/spec/replicas").is_null() {
        faults.add(
            workload.file(),
            "spec.replicas",
            format!(
                "is set, so each apply undoes what autoscaler {} chose",
                hpa.name()
            ),
            "remove it where an HPA rules, as the hpa component does",
        );
    }
    let (least, most) = (
        hpa.at("/spec/minReplicas").as_u64().unwrap_or(1),
        hpa.at("/spec/maxReplicas").as_u64().unwrap_or(0),
    );
    if least > most {
        faults.add(
            &hpa.file,
            "spec.minReplicas",
            format!("is {least}, above maxReplicas = {most}"),
            "raise maxReplicas or lower minReplicas",
        );
    }
    for metric in hpa.list("/spec/metrics") {
        let resource = metric["resource"]["name"].as_str();
        if let Some(name) =
            resource.filter(|_| metric["resource"]["target"]["type"] == "Utilization")
            && workload.container["resources"]["requests"][name].is_null()
        {
            faults.add(
                workload.file(),
                workload.field(&format!(".resources.requests.{name}")),
                format!(
                    "autoscaler {} steers by a share of it, and it is not set",
                    hpa.name()
                ),
                "set it",
            );
        }
        let Some(name) = metric["pods"]["metric"]["name"].as_str() else {
            continue;
        };
        match adapter {
            Some(adapter) if adapter.metrics().any(|metric| metric == name) => {}
            _ => faults.add(
                &hpa.file,
                "spec.metrics[].pods.metric.name",
                format!("no rule of prometheus-adapter makes {name}"),
                "name it under `as` of a rule in cluster/prometheus-adapter/values.yaml",
            ),
        }
    }
}

fn vertical(overlay: &Overlay, vpa: &Resource, workloads: &[Workload<'_>], faults: &mut Faults) {
    let reference = vpa.at("/spec/targetRef");
    if target(reference, workloads).is_none() {
        faults.add(
            &vpa.file,
            "spec.targetRef.name",
            format!("there is no {} {}", reference["kind"], reference["name"]),
            "name the Deployment",
        );
    }
    let mode = vpa.at("/spec/updatePolicy/updateMode");
    if mode == "Off" {
        return;
    }
    // Unset means everything.
    let policies = vpa.list("/spec/resourcePolicy/containerPolicies");
    let steered = |name: &str| {
        policies.is_empty()
            || policies.iter().any(|policy| {
                policy["controlledResources"]
                    .as_array()
                    .is_none_or(|resources| resources.contains(&json!(name)))
            })
    };
    for hpa in overlay.of_kind("HorizontalPodAutoscaler") {
        let same = hpa.at("/spec/scaleTargetRef/name") == &reference["name"];
        let metrics = hpa.list("/spec/metrics").iter();
        for name in metrics.filter_map(|metric| metric["resource"]["name"].as_str()) {
            if same && steered(name) {
                faults.add(
                    &vpa.file,
                    "spec.updatePolicy.updateMode",
                    format!("is {mode}, and autoscaler {} steers by {name} too: each would answer the other's change", hpa.name()),
                    format!("set it to \"Off\", or take {name} out of controlledResources"),
                );
            }
        }
    }
}

fn disruption(overlay: &Overlay, workload: &Workload<'_>, faults: &mut Faults) {
    let budgets: Vec<_> = overlay
        .of_kind("PodDisruptionBudget")
        .filter(|budget| selects(budget.at("/spec/selector/matchLabels"), workload.labels()))
        .collect();
    let [budget] = budgets[..] else {
        faults.add(
            budgets
                .first()
                .map_or(workload.file(), |budget| &budget.file),
            "spec.selector.matchLabels",
            match budgets.len() {
                0 => format!(
                    "no PodDisruptionBudget covers Deployment {}",
                    workload.deployment.name()
                ),
                many => format!(
                    "{many} PodDisruptionBudgets cover Deployment {}, and evictions then fail",
                    workload.deployment.name()
                ),
            },
            "cover each Deployment's pods by exactly one",
        );
        return;
    };
    let hpa = overlay
        .of_kind("HorizontalPodAutoscaler")
        .find(|hpa| hpa.at("/spec/scaleTargetRef/name") == workload.deployment.name());
    let replicas = match hpa {
        Some(hpa) => hpa.at("/spec/minReplicas").as_u64().unwrap_or(1),
        None => workload
            .deployment
            .at("/spec/replicas")
            .as_u64()
            .unwrap_or(1),
    };
    let (least, most) = (
        budget.at("/spec/minAvailable"),
        budget.at("/spec/maxUnavailable"),
    );
    let blocked = match (least, most) {
        (Value::Number(least), _) => least.as_u64().is_some_and(|least| least >= replicas),
        (Value::String(share), _) => share == "100%",
        (_, Value::Number(most)) => most.as_u64() == Some(0),
        (_, Value::String(share)) => share == "0%",
        _ => false,
    };
    if blocked {
        faults.add(
            &budget.file,
            if least.is_null() { "spec.maxUnavailable" } else { "spec.minAvailable" },
            format!("with {replicas} pods no eviction is ever allowed, so no node of theirs can be drained"),
            "set maxUnavailable: 1",
        );
    }
}
