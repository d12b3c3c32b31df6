//! Rules for migrations: a Job that runs before the Deployment, with the same settings and secrets.

use serde_json::Value;

use super::{StandIns, Workload, inputs, selects};
use crate::binary::Binary;
use crate::fault::Faults;
use crate::render::{self, Overlay, Resource};
use crate::sources::Sources;

/// A Job, and its context.
struct Step<'a> {
    /// The kustomization that generates the Job: either the file to edit, or a file that refers to it.
    file: String,
    rendered: &'a Overlay,
    job: &'a Resource,
    container: &'a Value,
}

/// Checks the Jobs of `overlays/NAME`. They are in `migrate/NAME`, or in the overlay itself if a controller applies
/// both.
pub(super) fn check(
    sources: &Sources,
    overlay: &Overlay,
    workloads: &[Workload<'_>],
    stand_ins: &StandIns,
    binary: &Binary,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    for job in overlay.of_kind("Job") {
        if job
            .at("/metadata/annotations/argocd.argoproj.io~1hook")
            .is_null()
        {
            faults.add(
                &job.file,
                "kind: Job",
                format!("{} is applied with the overlay: it runs beside the rollout and not before it, and cannot be applied again for another image", job.name()),
                "make it in k8s/migrate, or annotate it as a hook of Argo CD",
            );
        }
    }
    let name = overlay.name.replacen("overlays", "migrate", 1);
    let kustomization = sources.manifests.join(&name).join("kustomization.yaml");
    if name == overlay.name || !kustomization.is_file() {
        return Ok(());
    }
    let rendered = render::overlay(&sources.manifests, name)?;
    let manifests = sources.manifests.canonicalize()?;
    let folder = manifests.file_name().unwrap_or_default().display();
    for job in rendered.of_kind("Job") {
        let step = Step {
            file: format!("{folder}/{}/kustomization.yaml", rendered.name),
            rendered: &rendered,
            job,
            container: job.at("/spec/template/spec/containers/0"),
        };
        if let [workload] = workloads {
            step.agrees(workload, stand_ins, faults);
        }
        step.is_apart(overlay, faults);
        step.ends(faults);
        step.is_a_command(binary, faults)?;
    }
    Ok(())
}

// === impl Step ===

impl Step<'_> {
    fn add(&self, faults: &mut Faults, field: &str, problem: String, remedy: &str) {
        faults.add(&self.file, format!("Job: {field}"), problem, remedy);
    }

    /// The Job runs the same program as the Deployment, with the same settings and rights.
    fn agrees(&self, workload: &Workload<'_>, stand_ins: &StandIns, faults: &mut Faults) {
        let pod = "/spec/template/spec";
        let of_pod = |field: &str| {
            let pointer = format!("{pod}/{field}");
            (
                self.job.at(&pointer).clone(),
                workload.deployment.at(&pointer).clone(),
            )
        };
        let of_container = |field: &str| {
            (
                self.container[field].clone(),
                workload.container[field].clone(),
            )
        };
        let own = inputs(self.rendered, self.job, self.container, stand_ins);
        let theirs = &workload.inputs;
        for (field, alike) in [
            ("image", of_container("image")),
            (
                "securityContext of the container",
                of_container("securityContext"),
            ),
            ("securityContext", of_pod("securityContext")),
            (
                "automountServiceAccountToken",
                of_pod("automountServiceAccountToken"),
            ),
        ] {
            if alike.0 != alike.1 {
                self.add(
                    faults,
                    field,
                    format!("is {}, and the Deployment's is {}", alike.0, alike.1),
                    "derive the Job from the Deployment, as components/migrate does, or set the same value",
                );
            }
        }
        for (field, same) in [
            ("envFrom", own.env == theirs.env),
            (
                "volumes: the files of settings",
                own.config == theirs.config,
            ),
            (
                "volumes: the files of secrets",
                own.secrets == theirs.secrets,
            ),
        ] {
            if !same {
                self.add(
                    faults,
                    field,
                    "their content differs from the Deployment's, so the Job may migrate another database".to_owned(),
                    "use the ConfigMaps and Secrets of the overlay",
                );
            }
        }
    }

    /// No Service selects the Job's pods, and a network policy allows their outgoing connections.
    fn is_apart(&self, overlay: &Overlay, faults: &mut Faults) {
        let labels = self.job.at("/spec/template/metadata/labels");
        for service in overlay.of_kind("Service") {
            if selects(service.at("/spec/selector"), labels) {
                self.add(
                    faults,
                    "spec.template.metadata.labels",
                    format!(
                        "Service {} sends requests to its pod, which answers none",
                        service.name()
                    ),
                    "give it an app.kubernetes.io/name of its own",
                );
            }
        }
        let mut policies = self.rendered.of_kind("NetworkPolicy");
        if !policies.any(|policy| selects(policy.at("/spec/podSelector/matchLabels"), labels)) {
            self.add(
                faults,
                "spec.template.metadata.labels",
                "no NetworkPolicy covers its pod".to_owned(),
                "make the podSelector of the overlay's policies match it, as components/migrate does",
            );
        }
        let account = self.job.text("/spec/template/spec/serviceAccountName");
        if !account.is_empty() && self.rendered.find("ServiceAccount", account).is_none() {
            self.add(
                faults,
                "spec.template.spec.serviceAccountName",
                format!("there is no ServiceAccount {account} before the overlay is applied"),
                "apply it together with the Job",
            );
        }
    }

    fn ends(&self, faults: &mut Faults) {
        if self.job.at("/spec/activeDeadlineSeconds").is_null() {
            self.add(
                faults,
                "spec.activeDeadlineSeconds",
                "is not set: a migration that waits for a lock would block every rollout forever"
                    .to_owned(),
                "set it to more than your slowest migration takes",
            );
        }
    }

    fn is_a_command(&self, binary: &Binary, faults: &mut Faults) -> anyhow::Result<()> {
        if binary.foreign_binary().is_some() {
            return Ok(());
        }
        let arguments: Vec<&str> = self.container["args"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let command = arguments.first().copied().unwrap_or_default();
        if !binary.has_command(command)? {
            self.add(
                faults,
                "spec.template.spec.containers[].args",
                format!("the service has no command {command:?}"),
                "name one of those that --help lists, such as migrate",
            );
        }
        for setting in arguments.windows(2).filter(|pair| pair[0] == "--set") {
            let key = setting[1].split('=').next().unwrap_or_default();
            if !binary.knows(key) {
                self.add(
                    faults,
                    "spec.template.spec.containers[].args",
                    format!("unknown setting {key}"),
                    "name a key of --config-schema",
                );
            }
        }
        Ok(())
    }
}
