//! Rules for networking: selectors match, ports exist, routes answer.

use serde_json::Value;

use super::{Workload, seconds, selects};
use crate::binary::Live;
use crate::fault::Faults;
use crate::render::{Overlay, Resource};

pub(super) fn check(
    overlay: &Overlay,
    workloads: &[Workload<'_>],
    live: Option<&Live>,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    deployments(workloads, faults);
    services(overlay, workloads, faults);
    ingresses(overlay, faults);
    routes(overlay, workloads, faults);
    policies(overlay, workloads, faults);
    for monitor in overlay.of_kind("ServiceMonitor") {
        service_monitor(overlay, monitor, workloads, live, faults)?;
    }
    Ok(())
}

fn deployments(workloads: &[Workload<'_>], faults: &mut Faults) {
    for workload in workloads {
        let selector = workload.deployment.at("/spec/selector/matchLabels");
        if !selects(selector, workload.labels()) {
            faults.add(
                workload.file(),
                "spec.selector.matchLabels",
                format!(
                    "{selector} does not match the pods' labels {}",
                    workload.labels()
                ),
                "give spec.template.metadata.labels the same labels",
            );
        }
        for other in workloads {
            if other.deployment.name() != workload.deployment.name()
                && selects(selector, other.labels())
            {
                faults.add(
                    workload.file(),
                    "spec.selector.matchLabels",
                    format!(
                        "Deployment {} also claims the pods of {}",
                        workload.deployment.name(),
                        other.deployment.name()
                    ),
                    "distinguish them with a label such as track",
                );
            }
        }
    }
}

fn services(overlay: &Overlay, workloads: &[Workload<'_>], faults: &mut Faults) {
    for service in overlay.of_kind("Service") {
        let selector = service.at("/spec/selector");
        let behind: Vec<_> = workloads
            .iter()
            .filter(|workload| selects(selector, workload.labels()))
            .collect();
        if behind.is_empty() {
            faults.add(
                &service.file,
                "spec.selector",
                format!("{selector} selects the pods of no Deployment"),
                "use labels of spec.template.metadata.labels",
            );
        }
        for port in service.list("/spec/ports") {
            let target = if port["targetPort"].is_null() {
                &port["port"]
            } else {
                &port["targetPort"]
            };
            for workload in &behind {
                if workload.port(target).is_none() {
                    faults.add(
                        &service.file,
                        format!(
                            "spec.ports[{}].targetPort",
                            port["name"].as_str().unwrap_or_default()
                        ),
                        format!(
                            "{target} is not a port of Deployment {}: it has {}",
                            workload.deployment.name(),
                            workload.ports()
                        ),
                        "name http or admin",
                    );
                }
            }
        }
    }
}

/// A Service's port, by name or number.
fn service_port<'a>(service: &'a Resource, port: &Value) -> Option<&'a Value> {
    service
        .list("/spec/ports")
        .iter()
        .find(|listed| match port {
            Value::String(name) => listed["name"] == name.as_str(),
            number => listed["port"] == *number,
        })
}

fn backend(
    overlay: &Overlay,
    file: &str,
    field: &str,
    name: &Value,
    port: &Value,
    faults: &mut Faults,
) {
    let Some(service) = overlay.find("Service", name.as_str().unwrap_or_default()) else {
        faults.add(
            file,
            format!("{field}.name"),
            format!("there is no Service {name}"),
            "name a Service of this overlay",
        );
        return;
    };
    if service_port(service, port).is_none() {
        faults.add(
            file,
            format!("{field}.port"),
            format!("Service {name} has no port {port}"),
            "name one of its ports: http, which is 80",
        );
    }
}

fn ingresses(overlay: &Overlay, faults: &mut Faults) {
    for ingress in overlay.of_kind("Ingress") {
        let secured: Vec<&Value> = ingress
            .list("/spec/tls")
            .iter()
            .filter_map(|tls| tls["hosts"].as_array())
            .flatten()
            .collect();
        for rule in ingress.list("/spec/rules") {
            if !secured.contains(&&rule["host"]) {
                faults.add(
                    &ingress.file,
                    "spec.tls[0].hosts",
                    format!("host {} is served without TLS", rule["host"]),
                    "list the host under spec.tls too",
                );
            }
            for path in rule["http"]["paths"].as_array().into_iter().flatten() {
                let service = &path["backend"]["service"];
                let port = &service["port"];
                let port = if port["name"].is_null() {
                    &port["number"]
                } else {
                    &port["name"]
                };
                backend(
                    overlay,
                    &ingress.file,
                    "spec.rules[].http.paths[].backend.service",
                    &service["name"],
                    port,
                    faults,
                );
            }
        }
    }
}

fn routes(overlay: &Overlay, workloads: &[Workload<'_>], faults: &mut Faults) {
    for route in overlay.of_kind("HTTPRoute") {
        for rule in route.list("/spec/rules") {
            for reference in rule["backendRefs"].as_array().into_iter().flatten() {
                backend(
                    overlay,
                    &route.file,
                    "spec.rules[].backendRefs[]",
                    &reference["name"],
                    &reference["port"],
                    faults,
                );
                timeout(overlay, route, rule, reference, workloads, faults);
            }
        }
    }
}

/// The proxy's timeout must be longer than the service's. If the proxy times out first, clients never receive the
/// service's own response.
fn timeout(
    overlay: &Overlay,
    route: &Resource,
    rule: &Value,
    reference: &Value,
    workloads: &[Workload<'_>],
    faults: &mut Faults,
) {
    let patience = rule["timeouts"]["request"].as_str().and_then(seconds);
    // 0s means unlimited.
    let Some(patience) = patience.filter(|patience| *patience > 0.0) else {
        return;
    };
    let service = overlay.find("Service", reference["name"].as_str().unwrap_or_default());
    let slowest = workloads
        .iter()
        .filter(|workload| {
            service.is_some_and(|service| selects(service.at("/spec/selector"), workload.labels()))
        })
        .filter_map(|workload| workload.seconds("limits.request_timeout"))
        .fold(0.0, f64::max);
    if patience <= slowest {
        faults.add(
            &route.file,
            "spec.rules[].timeouts.request",
            format!("times out after {patience}s, before the service's own 504 after {slowest}s"),
            "set it above limits.request_timeout",
        );
    }
}

fn policies(overlay: &Overlay, workloads: &[Workload<'_>], faults: &mut Faults) {
    for policy in overlay.of_kind("NetworkPolicy") {
        let selector = policy.at("/spec/podSelector/matchLabels");
        let covered: Vec<_> = workloads
            .iter()
            .filter(|workload| selects(selector, workload.labels()))
            .collect();
        let of_a_job = overlay
            .of_kind("Job")
            .any(|job| selects(selector, job.at("/spec/template/metadata/labels")));
        if covered.is_empty() && !of_a_job {
            faults.add(
                &policy.file,
                "spec.podSelector.matchLabels",
                format!("{selector} covers no pod"),
                "use labels of the Deployment's pods",
            );
        }
        let rules = policy.list("/spec/ingress").iter();
        for port in rules.filter_map(|rule| rule["ports"].as_array()).flatten() {
            if covered
                .iter()
                .any(|workload| workload.port(&port["port"]).is_none())
            {
                faults.add(
                    &policy.file,
                    "spec.ingress[].ports[].port",
                    format!("the pods have no port {}", port["port"]),
                    "name http or admin",
                );
            }
        }
    }
    for workload in workloads {
        let covers = |policy: &Resource| {
            selects(
                policy.at("/spec/podSelector/matchLabels"),
                workload.labels(),
            )
        };
        if !overlay.of_kind("NetworkPolicy").any(covers) {
            faults.add(
                workload.file(),
                "spec.template.metadata.labels",
                "no NetworkPolicy covers these pods",
                "add one, or make an existing one's podSelector match",
            );
        }
    }
}

fn service_monitor(
    overlay: &Overlay,
    monitor: &Resource,
    workloads: &[Workload<'_>],
    live: Option<&Live>,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let selector = monitor.at("/spec/selector/matchLabels");
    let Some(service) = overlay
        .of_kind("Service")
        .find(|service| selects(selector, service.at("/metadata/labels")))
    else {
        faults.add(
            &monitor.file,
            "spec.selector.matchLabels",
            format!("{selector} selects no Service"),
            "use the labels of the admin Service",
        );
        return Ok(());
    };
    for endpoint in monitor.list("/spec/endpoints") {
        let Some(port) = service_port(service, &endpoint["port"]) else {
            faults.add(
                &monitor.file,
                "spec.endpoints[].port",
                format!(
                    "Service {} has no port named {}",
                    service.name(),
                    endpoint["port"]
                ),
                "name a port of that Service: admin",
            );
            continue;
        };
        let path = endpoint["path"].as_str().unwrap_or("/metrics");
        let behind = workloads
            .iter()
            .find(|workload| selects(service.at("/spec/selector"), workload.labels()));
        let Some(workload) = behind else { continue };
        let answer = match workload.port(&port["targetPort"]) {
            Some(port) => workload.answer(live, port, path)?,
            None => None,
        };
        if answer.is_some_and(|status| status != 200) {
            faults.add(
                &monitor.file,
                "spec.endpoints[].path",
                format!("{path} returns {}", answer.unwrap_or_default()),
                "scrape /metrics on port admin",
            );
        }
    }
    Ok(())
}
