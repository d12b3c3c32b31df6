//! `chassis-check`: silent on what is here, and loud about each thing that could be wrong with it.

use std::path::Path;
use std::sync::Mutex;

use chassis_check::{Check, Fault};

use crate::{components, copy, service, with_components};

#[test]
fn manifests_image_and_binary_agree() {
    let copy = copy();
    assert_agree(&Check::new(copy.path().join("k8s"), service()));
}

#[test]
fn each_component_agrees_by_itself() {
    let copy = copy();
    let mut check = Check::new(copy.path().join("k8s"), service());
    for names in components() {
        let folder = with_components(copy.path(), &names);
        check = check.only(format!(
            "overlays/{}",
            folder.file_name().expect("a name").display()
        ));
    }
    assert_agree(&check);
}

#[test]
fn a_canary_by_weight_agrees() {
    let copy = copy();
    let file = copy.path().join("k8s/overlays/canary/kustomization.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let text = text
        .replace("# components:", "components:")
        .replace("#   - ", "  - ");
    std::fs::write(&file, text).expect("a file");
    assert_agree(&Check::new(copy.path().join("k8s"), service()).only("overlays/canary"));
}

fn assert_agree(check: &Check) {
    let faults = check.run().expect("both can be looked at");
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n\n"));
}

/// One thing that is wrong, and how it is to be told.
struct Mutation {
    overlay: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The file, the field and the remedy that the fault names; each a part of it.
    told: (&'static str, &'static str, &'static str),
}

const DEPLOYMENT: &str = "k8s/base/workload/deployment.yaml";
const PRODUCTION: &str = "k8s/overlays/production/kustomization.yaml";
const ALERTS: &str = "k8s/components/alerts/alerts.yaml";
const DASHBOARD: &str = "k8s/components/dashboard/dashboard.json";
const ADAPTER: &str = "k8s/cluster/prometheus-adapter/values.yaml";

/// In a file of the base, seen in the base.
const fn base(
    file: &'static str,
    from: &'static str,
    to: &'static str,
    field: &'static str,
    remedy: &'static str,
) -> Mutation {
    Mutation {
        overlay: "base",
        file,
        from,
        to,
        told: (file, field, remedy),
    }
}

/// In any file, seen in production.
const fn production(
    file: &'static str,
    from: &'static str,
    to: &'static str,
    field: &'static str,
    remedy: &'static str,
) -> Mutation {
    Mutation {
        overlay: "overlays/production",
        file,
        from,
        to,
        told: (file, field, remedy),
    }
}

const fn told_of(mut mutation: Mutation, file: &'static str) -> Mutation {
    mutation.told.0 = file;
    mutation
}

fn mutations() -> Vec<Mutation> {
    vec![
        // Ending
        base(
            DEPLOYMENT,
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriodSeconds: 20",
            "terminationGracePeriodSeconds",
            "set it to 30",
        ),
        base(
            DEPLOYMENT,
            "          ports:\n",
            "          lifecycle: {preStop: {sleep: {seconds: 10}}}\n          ports:\n",
            "terminationGracePeriodSeconds",
            "set it to 40",
        ),
        base(
            DEPLOYMENT,
            "          ports:\n",
            "          lifecycle: {preStop: {exec: {command: [sleep, \"5\"]}}}\n          ports:\n",
            "lifecycle.preStop.exec",
            "shutdown.delay",
        ),
        // Probes
        base(
            DEPLOYMENT,
            "path: /health/liveness",
            "path: /healthz",
            "livenessProbe.httpGet.path",
            "/health/liveness",
        ),
        base(
            DEPLOYMENT,
            "path: /health/liveness",
            "path: /health/readiness",
            "livenessProbe.httpGet.path",
            "/health/liveness",
        ),
        base(
            DEPLOYMENT,
            "path: /health/startup\n              port: admin",
            "path: /health/startup\n              port: http",
            "startupProbe.httpGet.path",
            "port admin",
        ),
        base(
            DEPLOYMENT,
            "path: /health/readiness\n              port: admin",
            "path: /health/readiness\n              port: metrics",
            "readinessProbe.httpGet.port",
            "name port admin",
        ),
        base(
            DEPLOYMENT,
            "livenessProbe:",
            "# livenessProbe:\n          x-livenessProbe:",
            "livenessProbe",
            "httpGet /health/liveness",
        ),
        base(
            DEPLOYMENT,
            "failureThreshold: 35",
            "failureThreshold: 10",
            "startupProbe.failureThreshold",
            "set it to 30",
        ),
        // Ports, image
        base(
            DEPLOYMENT,
            "containerPort: 9090",
            "containerPort: 9091",
            "ports[admin].containerPort",
            "declare port 9090",
        ),
        base(
            DEPLOYMENT,
            "- name: http\n",
            "- name: web\n",
            "ports[http].containerPort",
            "declare port 8080",
        ),
        base(
            DEPLOYMENT,
            "runAsUser: 65532",
            "runAsUser: 1000",
            "securityContext.runAsUser",
            "65532",
        ),
        told_of(
            base(
                "Dockerfile",
                "EXPOSE 8080 9090",
                "EXPOSE 8080",
                "ports",
                "EXPOSE 9090",
            ),
            DEPLOYMENT,
        ),
        base(
            DEPLOYMENT,
            "prometheus.io/port: \"9090\"",
            "prometheus.io/port: \"9100\"",
            "prometheus.io/port",
            "port 9090",
        ),
        base(
            DEPLOYMENT,
            "prometheus.io/path: /metrics",
            "prometheus.io/path: /prometheus",
            "prometheus.io/path",
            "/metrics",
        ),
        // Restricted
        base(
            DEPLOYMENT,
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
            "readOnlyRootFilesystem",
            "true",
        ),
        base(
            DEPLOYMENT,
            "drop: [ALL]",
            "drop: [NET_RAW]",
            "capabilities.drop",
            "ALL",
        ),
        base(
            DEPLOYMENT,
            "runAsNonRoot: true",
            "runAsNonRoot: false",
            "runAsNonRoot",
            "true",
        ),
        base(
            DEPLOYMENT,
            "type: RuntimeDefault",
            "type: Unconfined",
            "seccompProfile",
            "RuntimeDefault",
        ),
        base(
            DEPLOYMENT,
            "automountServiceAccountToken: false",
            "automountServiceAccountToken: true",
            "automountServiceAccountToken",
            "false",
        ),
        // Sizes, rollout
        base(
            DEPLOYMENT,
            "              memory: 128Mi\n",
            "",
            "resources.limits.memory",
            "set it",
        ),
        base(
            DEPLOYMENT,
            "              cpu: \"2\"\n",
            "",
            "resources.limits.cpu",
            "APP__SERVICE__THREADS",
        ),
        base(
            DEPLOYMENT,
            "maxUnavailable: 0",
            "maxUnavailable: 1",
            "rollingUpdate.maxUnavailable",
            "maxUnavailable 0",
        ),
        // Settings
        told_of(
            production(
                PRODUCTION,
                "labels:\n",
                "configMapGenerator:\n  - name: service-env\n    behavior: merge\n    literals: [APP__SERVR__PORT=8080]\nlabels:\n",
                "settings",
                "--config-schema",
            ),
            "k8s/",
        ),
        told_of(
            production(
                PRODUCTION,
                "labels:\n",
                "configMapGenerator:\n  - name: service-env\n    behavior: merge\n    literals: [APP_SERVER__PORT=8080]\nlabels:\n",
                "APP_SERVER__PORT",
                "APP__SECTION__KEY",
            ),
            "k8s/",
        ),
        told_of(
            production(
                PRODUCTION,
                "labels:\n",
                "configMapGenerator:\n  - name: service-env\n    behavior: merge\n    literals: [APP__HEALTH__FAILURES=many]\nlabels:\n",
                "settings",
                "--config-schema",
            ),
            "k8s/",
        ),
        told_of(
            production(
                PRODUCTION,
                "labels:\n",
                "configMapGenerator:\n  - name: service-env\n    behavior: merge\n    literals: [APP__SERVER__PORT=8081]\nlabels:\n",
                "ports[http].containerPort",
                "set server.port",
            ),
            DEPLOYMENT,
        ),
        told_of(
            production(
                PRODUCTION,
                "labels:\n",
                "configMapGenerator:\n  - name: service-env\n    behavior: merge\n    literals: [APP__SHUTDOWN__DEADLINE=60s]\nlabels:\n",
                "terminationGracePeriodSeconds",
                "lower shutdown.deadline",
            ),
            DEPLOYMENT,
        ),
        told_of(
            base(
                "config/production.toml",
                "[logs]",
                "[lgs]",
                "settings",
                "--config-schema",
            ),
            "config/",
        ),
        told_of(
            base(
                "config/production.toml",
                "[logs]",
                "[logs",
                "settings",
                "--config-schema",
            ),
            "config/",
        ),
        base(
            DEPLOYMENT,
            "mountPath: /app/config",
            "mountPath: /etc/service",
            "volumeMounts[config].mountPath",
            "/app/config",
        ),
        base(
            DEPLOYMENT,
            "mountPath: /var/secrets",
            "mountPath: /secrets",
            "volumeMounts[secrets].mountPath",
            "/var/secrets",
        ),
        base(
            DEPLOYMENT,
            "mountPath: /app/config\n",
            "mountPath: /app/config\n              subPath: production.toml\n",
            "subPath",
            "whole volume",
        ),
        // Ways in
        base(
            "k8s/base/shared/service.yaml",
            "targetPort: http",
            "targetPort: web",
            "targetPort",
            "http or admin",
        ),
        base(
            "k8s/base/shared/service.yaml",
            "selector:\n    app.kubernetes.io/name: service",
            "selector:\n    app: service",
            "spec.selector",
            "spec.template.metadata.labels",
        ),
        base(
            "k8s/base/shared/networkpolicy.yaml",
            "port: admin",
            "port: metrics",
            "ports[].port",
            "http or admin",
        ),
        base(
            "k8s/base/shared/networkpolicy.yaml",
            "podSelector:\n    matchLabels:\n      app.kubernetes.io/name: service",
            "podSelector:\n    matchLabels:\n      app: service",
            "podSelector",
            "labels of the Deployment",
        ),
        production(
            "k8s/components/ingress/ingress.yaml",
            "                  name: http",
            "                  name: web",
            "backend.service.port",
            "http",
        ),
        production(
            "k8s/components/ingress/ingress.yaml",
            "                name: service\n",
            "                name: servce\n",
            "backend.service.name",
            "Service of this overlay",
        ),
        told_of(
            production(
                PRODUCTION,
                "path: /spec/tls/0/hosts/0\n        value: service.example.com",
                "path: /spec/tls/0/hosts/0\n        value: www.example.com",
                "spec.tls",
                "list the host",
            ),
            "k8s/components/ingress/ingress.yaml",
        ),
        production(
            "k8s/components/service-monitor/service-monitor.yaml",
            "port: admin",
            "port: metrics",
            "spec.endpoints[].port",
            "admin",
        ),
        production(
            "k8s/components/service-monitor/service-monitor.yaml",
            "component: admin",
            "component: metrics",
            "spec.selector",
            "labels of the admin Service",
        ),
        production(
            "k8s/components/service-monitor/service-monitor.yaml",
            "path: /metrics",
            "path: /prometheus",
            "spec.endpoints[].path",
            "/metrics",
        ),
        // Numbers of pods
        base(
            DEPLOYMENT,
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: service\n",
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: servce\n",
            "spec.selector.matchLabels",
            "same labels",
        ),
        base(
            "k8s/base/workload/pdb.yaml",
            "      track: stable",
            "      track: green",
            "spec.selector.matchLabels",
            "Deployment's pods",
        ),
        base(
            "k8s/base/workload/pdb.yaml",
            "maxUnavailable: 1",
            "minAvailable: 2",
            "spec.minAvailable",
            "maxUnavailable: 1",
        ),
        base(
            "k8s/base/workload/pdb.yaml",
            "maxUnavailable: 1",
            "maxUnavailable: 0",
            "spec.maxUnavailable",
            "maxUnavailable: 1",
        ),
        told_of(
            production(
                "k8s/components/hpa/kustomization.yaml",
                "op: remove\n        path: /spec/replicas",
                "op: replace\n        path: /spec/replicas\n        value: 4",
                "spec.replicas",
                "remove it",
            ),
            DEPLOYMENT,
        ),
        production(
            "k8s/components/hpa/hpa.yaml",
            "kind: Deployment\n    name: service",
            "kind: Deployment\n    name: servce",
            "spec.scaleTargetRef.name",
            "name the Deployment",
        ),
        told_of(
            production(
                "k8s/components/guaranteed/kustomization.yaml",
                "          requests:\n            cpu: \"1\"\n",
                "          requests:\n",
                "resources.requests.cpu",
                "set it",
            ),
            DEPLOYMENT,
        ),
        told_of(
            production(
                "k8s/components/hpa-requests/kustomization.yaml",
                "name: http_requests_per_second",
                "name: requests_per_second",
                "spec.metrics[].pods.metric.name",
                "prometheus-adapter",
            ),
            "k8s/components/hpa/hpa.yaml",
        ),
        told_of(
            production(
                PRODUCTION,
                "value: 3\n",
                "value: 30\n",
                "spec.minReplicas",
                "raise maxReplicas",
            ),
            "k8s/components/hpa/hpa.yaml",
        ),
        // What is watched
        production(
            ALERTS,
            "panics_total{",
            "panic_total{",
            "rule Panics",
            "panics_total",
        ),
        production(
            ALERTS,
            "cgroup_cpu_throttled_periods_total{",
            "cgroup_cpu_throttling_periods_total{",
            "rule CpuThrottled",
            "cgroup_cpu_throttled_periods_total",
        ),
        production(
            ALERTS,
            "http_response_status_code=~\"5..\"}[5m]",
            "code=~\"5..\"}[5m]",
            "rule job:http_errors:ratio_rate5m",
            "one that it has",
        ),
        production(
            ALERTS,
            "le=\"0.5\"}[5m]",
            "le=\"0.3\"}[5m]",
            "rule job:http_slow:ratio_rate5m",
            "written alike",
        ),
        production(
            ALERTS,
            "(namespace, job, version, revision)",
            "(namespace, job, version, commit)",
            "rule MixedVersions",
            "one that they have",
        ),
        production(
            ALERTS,
            "job:http_errors:ratio_rate1h{",
            "job:http_errors:ratio_rate2h{",
            "rule ErrorsBurnFast",
            "a metric that /metrics shows",
        ),
        production(
            DASHBOARD,
            "tokio_alive_tasks{",
            "tokio_tasks{",
            "panel \"Tasks alive\"",
            "tokio",
        ),
        production(
            DASHBOARD,
            "sum by (http_route)",
            "sum by (route)",
            "panel \"Requests by route\"",
            "one that they have",
        ),
        production(
            ADAPTER,
            "http_server_request_duration_seconds_count{",
            "http_server_requests_seconds_count{",
            "seriesQuery",
            "did you mean http_server_request_duration_seconds_count",
        ),
    ]
}

#[test]
fn each_thing_that_is_wrong_is_told_with_file_field_and_remedy() {
    let mutations = Mutex::new(mutations().into_iter());
    let silent = Mutex::new(Vec::new());
    service();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(mutation) = mutations.lock().expect("no panic").next() else {
                        break;
                    };
                    if let Err(told) = try_one(&mutation) {
                        silent.lock().expect("no panic").push(told);
                    }
                }
            });
        }
    });
    let silent = silent.into_inner().expect("no panic");
    assert!(silent.is_empty(), "{}", silent.join("\n\n"));
}

fn try_one(mutation: &Mutation) -> Result<(), String> {
    let copy = copy();
    change(&copy.path().join(mutation.file), mutation.from, mutation.to);
    let check = Check::new(copy.path().join("k8s"), service()).only(mutation.overlay);
    let what = format!(
        "{}: {:?} -> {:?}",
        mutation.file, mutation.from, mutation.to
    );
    let faults = match check.run() {
        Ok(faults) => faults,
        // A binary that refuses its settings cannot be run, and says why.
        Err(error) => return Err(format!("{what}\n{error:#}")),
    };
    let (file, field, remedy) = mutation.told;
    let told = |fault: &Fault| {
        fault.file.starts_with(file) && fault.field.contains(field) && fault.remedy.contains(remedy)
    };
    if faults.iter().any(told) {
        return Ok(());
    }
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    Err(format!("{what}\nis not told; but:\n{}", lines.join("\n")))
}

fn change(file: &Path, from: &str, to: &str) {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).expect("a file");
}
