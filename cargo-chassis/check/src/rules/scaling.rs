//! Rules for scaling: pods have the resource requests that autoscalers need, autoscalers do not conflict, and
//! PodDisruptionBudgets allow drains.

use serde_json::{Value, json};

use super::queries::Adapter;
use super::{Workload, selects};
use crate::fault::Faults;
use crate::render::{Overlay, Resource};
use crate::sources::Sources;

/// A HorizontalPodAutoscaler, or a ScaledObject from which KEDA creates one.
pub(super) struct Autoscaler<'a> {
    pub(super) resource: &'a Resource,
    /// The names of its fields for the minimum and maximum number of pods.
    pub(super) bounds: [&'static str; 2],
    least: u64,
    pub(super) most: u64,
    /// The Deployment that it scales.
    target: &'a Value,
    /// The resources that it watches (`cpu` or `memory`), each with whether its target is a share of the pod's request.
    resources: Vec<(&'a str, bool)>,
}

pub(super) fn check(
    sources: &Sources,
    overlay: &Overlay,
    workloads: &[Workload<'_>],
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let adapter = Adapter::read(sources)?;
    let autoscalers = Autoscaler::all(overlay);
    for autoscaler in &autoscalers {
        autoscaler.check(workloads, faults);
        autoscaler.adapted(adapter.as_ref(), faults);
    }
    for workload in workloads {
        alone(&autoscalers, workload, faults);
        disruption(overlay, &autoscalers, workload, faults);
    }
    for vpa in overlay.of_kind("VerticalPodAutoscaler") {
        vertical(&autoscalers, vpa, workloads, faults);
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

/// The name of the Deployment that an autoscaler scales: directly, or through the Rollout that refers to it.
fn deployment<'a>(overlay: &'a Overlay, autoscaler: &'a Resource) -> &'a Value {
    let name = autoscaler.at("/spec/scaleTargetRef/name");
    match autoscaler.text("/spec/scaleTargetRef/kind") {
        // KEDA's default is a Deployment.
        "Deployment" | "" => name,
        "Rollout" => overlay
            .find("Rollout", name.as_str().unwrap_or_default())
            .map_or(&Value::Null, |rollout| rollout.at("/spec/workloadRef/name")),
        _ => &Value::Null,
    }
}

/// Two autoscalers of one Deployment undo each other's changes.
fn alone(autoscalers: &[Autoscaler<'_>], workload: &Workload<'_>, faults: &mut Faults) {
    let mut steering = autoscalers
        .iter()
        .filter(|autoscaler| autoscaler.steers(workload));
    let (Some(one), Some(other)) = (steering.next(), steering.next()) else {
        return;
    };
    faults.add(
        &other.resource.file,
        "spec.scaleTargetRef.name",
        format!(
            "{} and {} both scale Deployment {}",
            one.resource.kind(),
            other.resource.kind(),
            workload.deployment.name()
        ),
        "list one of the components hpa and keda, not both",
    );
}

fn vertical(
    autoscalers: &[Autoscaler<'_>],
    vpa: &Resource,
    workloads: &[Workload<'_>],
    faults: &mut Faults,
) {
    let reference = vpa.at("/spec/targetRef");
    let is_target = |workload: &Workload<'_>| {
        reference["kind"] == "Deployment" && reference["name"] == workload.deployment.name()
    };
    if !workloads.iter().any(is_target) {
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
    // Without policies, or without `controlledResources`, the VPA controls CPU and memory.
    let policies = vpa.list("/spec/resourcePolicy/containerPolicies");
    let steered = |name: &str| {
        policies.is_empty()
            || policies.iter().any(|policy| {
                policy["controlledResources"]
                    .as_array()
                    .is_none_or(|resources| resources.contains(&json!(name)))
            })
    };
    for autoscaler in autoscalers {
        let horizontal = autoscaler.resource;
        let same = autoscaler.target == &reference["name"];
        for (name, _) in &autoscaler.resources {
            if same && steered(name) {
                faults.add(
                    &vpa.file,
                    "spec.updatePolicy.updateMode",
                    format!(
                        "is {mode}, and autoscaler {} also uses {name}: they would react to each other",
                        horizontal.name()
                    ),
                    format!("set it to \"Off\", or take {name} out of controlledResources"),
                );
            }
        }
    }
}

fn disruption(
    overlay: &Overlay,
    autoscalers: &[Autoscaler<'_>],
    workload: &Workload<'_>,
    faults: &mut Faults,
) {
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
                    "{many} PodDisruptionBudgets cover Deployment {}, so evictions fail",
                    workload.deployment.name()
                ),
            },
            "cover each Deployment's pods with exactly one",
        );
        return;
    };
    let autoscaler = autoscalers
        .iter()
        .find(|autoscaler| autoscaler.steers(workload));
    let replicas = match autoscaler {
        Some(autoscaler) => autoscaler.least,
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

// === impl Autoscaler ===

impl<'a> Autoscaler<'a> {
    pub(super) fn all(overlay: &'a Overlay) -> Vec<Self> {
        let horizontal = overlay
            .of_kind("HorizontalPodAutoscaler")
            .map(|resource| Self::horizontal(overlay, resource));
        let scaled = overlay
            .of_kind("ScaledObject")
            .map(|resource| Self::scaled(overlay, resource));
        horizontal.chain(scaled).collect()
    }

    fn horizontal(overlay: &'a Overlay, resource: &'a Resource) -> Self {
        let metrics = resource.list("/spec/metrics").iter();
        Self {
            resource,
            bounds: ["minReplicas", "maxReplicas"],
            least: resource.at("/spec/minReplicas").as_u64().unwrap_or(1),
            most: resource.at("/spec/maxReplicas").as_u64().unwrap_or(0),
            target: deployment(overlay, resource),
            resources: metrics
                .filter_map(|metric| {
                    let share = metric["resource"]["target"]["type"] == "Utilization";
                    Some((metric["resource"]["name"].as_str()?, share))
                })
                .collect(),
        }
    }

    fn scaled(overlay: &'a Overlay, resource: &'a Resource) -> Self {
        let triggers = resource.list("/spec/triggers").iter();
        Self {
            resource,
            bounds: ["minReplicaCount", "maxReplicaCount"],
            least: resource.at("/spec/minReplicaCount").as_u64().unwrap_or(0),
            most: resource.at("/spec/maxReplicaCount").as_u64().unwrap_or(100),
            target: deployment(overlay, resource),
            resources: triggers
                .filter_map(|trigger| {
                    let kind = trigger["type"].as_str()?;
                    let share = trigger["metricType"] == "Utilization";
                    ["cpu", "memory"].contains(&kind).then_some((kind, share))
                })
                .collect(),
        }
    }

    pub(super) fn steers(&self, workload: &Workload<'_>) -> bool {
        *self.target == workload.deployment.name()
    }

    fn check(&self, workloads: &[Workload<'_>], faults: &mut Faults) {
        let (file, name) = (&self.resource.file, self.resource.name());
        let Some(workload) = workloads.iter().find(|workload| self.steers(workload)) else {
            let wanted = self.resource.at("/spec/scaleTargetRef/name");
            faults.add(
                file,
                "spec.scaleTargetRef.name",
                format!("there is no Deployment {wanted}"),
                "name the Deployment",
            );
            return;
        };
        if !workload.deployment.at("/spec/replicas").is_null() {
            faults.add(
                workload.file(),
                "spec.replicas",
                format!("is set, so each apply overrides autoscaler {name}"),
                "remove it if there is an autoscaler, as the hpa and keda components do",
            );
        }
        let [least, most] = self.bounds;
        if self.least > self.most {
            faults.add(
                file,
                format!("spec.{least}"),
                format!("is {}, above {most} = {}", self.least, self.most),
                format!("raise {most} or lower {least}"),
            );
        }
        if self.least == 0 {
            faults.add(
                file,
                format!("spec.{least}"),
                "is 0: no pod would receive the request that scales up again",
                "set it to 2",
            );
        }
        for (resource, share) in &self.resources {
            if *share && workload.container["resources"]["requests"][resource].is_null() {
                faults.add(
                    workload.file(),
                    workload.field(&format!(".resources.requests.{resource}")),
                    format!("autoscaler {name} uses a percentage of it, and it is not set"),
                    "set it",
                );
            }
        }
    }

    /// Each pod metric must be one that prometheus-adapter defines.
    fn adapted(&self, adapter: Option<&Adapter>, faults: &mut Faults) {
        for metric in self.resource.list("/spec/metrics") {
            let Some(name) = metric["pods"]["metric"]["name"].as_str() else {
                continue;
            };
            if !adapter.is_some_and(|adapter| adapter.metrics().any(|metric| metric == name)) {
                faults.add(
                    &self.resource.file,
                    "spec.metrics[].pods.metric.name",
                    format!("no rule of prometheus-adapter makes {name}"),
                    "name it under `as` of a rule in cluster/prometheus-adapter/values.yaml",
                );
            }
        }
    }
}
