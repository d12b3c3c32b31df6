//! Network access that the manifests allow.

use serde_json::{Value, json};

use crate::{applied, documents, render};

fn of_kind(kind: &str) -> Vec<Value> {
    let all = applied().into_iter();
    let all = all.flat_map(|folder| documents(&render(&folder)));
    let found: Vec<_> = all.filter(|resource| resource["kind"] == kind).collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
#[ignore = "needs kubectl"]
fn only_prometheus_pods_connect_to_the_admin_port() {
    let mut seen = 0;
    for policy in of_kind("NetworkPolicy") {
        for rule in items(&policy["spec"]["ingress"]) {
            let ports = rule["ports"].as_array();
            let ports = ports.unwrap_or_else(|| panic!("a rule for every port: {policy}"));
            let is_admin = |port: &Value| port["port"] == "admin" || port["port"] == 9090;
            if !ports.iter().any(is_admin) {
                continue;
            }
            for from in items(&rule["from"]) {
                seen += 1;
                let namespace = &from["namespaceSelector"]["matchLabels"];
                assert_eq!(
                    namespace,
                    &json!({ "kubernetes.io/metadata.name": "monitoring" })
                );
                let pods = &from["podSelector"]["matchLabels"];
                assert_eq!(pods, &json!({ "app.kubernetes.io/name": "prometheus" }));
            }
        }
    }
    assert!(seen > 3, "{seen}");
    for service in of_kind("Service") {
        let mut ports = items(&service["spec"]["ports"]);
        let is_admin = ports.any(|port| port["targetPort"] == "admin");
        let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
        assert!(!is_admin || kind == "ClusterIP", "{service}");
    }
}

#[test]
#[ignore = "needs kubectl"]
fn names_are_resolved_by_the_clusters_dns_and_by_the_cache_on_each_node() {
    let is_dns = |rule: &&Value| items(&rule["ports"]).any(|port| port["port"] == 53);
    let mut seen = 0;
    for policy in of_kind("NetworkPolicy") {
        for rule in items(&policy["spec"]["egress"]).filter(is_dns) {
            seen += 1;
            let to = &rule["to"];
            assert!(items(to).any(|to| to["podSelector"]["matchLabels"]["k8s-app"] == "kube-dns"));
            assert!(items(to).any(|to| to["ipBlock"]["cidr"] == "169.254.20.10/32"));
        }
    }
    assert!(seen > 0);
    let text = std::fs::read_to_string(e2e::root().join("k8s/base/shared/networkpolicy.yaml"));
    assert!(text.expect("a file").contains("openshift-dns"));
}

#[test]
#[ignore = "needs kubectl"]
fn a_gateway_takes_routes_of_chosen_namespaces_only() {
    for gateway in of_kind("Gateway") {
        for listener in items(&gateway["spec"]["listeners"]) {
            let namespaces = &listener["allowedRoutes"]["namespaces"];
            assert_eq!(namespaces["from"], "Selector", "{listener}");
            assert_eq!(
                namespaces["selector"]["matchLabels"],
                json!({ "gateway": "allowed" })
            );
        }
    }
}

#[test]
#[ignore = "needs kubectl"]
fn no_pod_may_connect_to_fluent_bit() {
    let policies = of_kind("NetworkPolicy").into_iter();
    let mut policies = policies.filter(|policy| policy["metadata"]["name"] == "fluent-bit");
    let spec = policies.next().expect("a policy")["spec"].clone();
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    assert!(spec["ingress"].is_null(), "{spec}");
    let pods = of_kind("DaemonSet")[0]["spec"]["template"]["metadata"]["labels"].clone();
    let selected = &spec["podSelector"]["matchLabels"];
    let key = "app.kubernetes.io/name";
    assert_eq!(pods[key], selected[key]);
}

#[test]
#[ignore = "needs kubectl"]
fn a_new_cpu_limit_restarts_the_container_and_a_new_memory_limit_does_not() {
    for deployment in of_kind("Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["resizePolicy"],
            json!([
                { "resourceName": "cpu", "restartPolicy": "RestartContainer" },
                { "resourceName": "memory", "restartPolicy": "NotRequired" },
            ])
        );
    }
}
