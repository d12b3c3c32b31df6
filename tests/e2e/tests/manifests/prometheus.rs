//! Alerts by promtool, and every query by a real Prometheus that scrapes the running service.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use axum_chassis_testing::Program;
use e2e::{root, succeed, wait_for};
use serde_json::Value;

use crate::{documents, render, service};

/// A Prometheus that scrapes one service as `service` and goes by `rules.yaml`. It ends with its test.
pub(crate) struct Prometheus {
    process: Child,
    port: u16,
}

impl Prometheus {
    /// Starts it in a folder that has the rules.
    pub(crate) fn start(folder: &Path, admin: SocketAddr) -> Self {
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yaml]\n\
             scrape_configs:\n\
             - job_name: service\n\
             \x20 static_configs:\n\
             \x20 - targets: ['{admin}']\n\
             \x20   labels: {{namespace: service, pod: service-1, track: stable}}\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("a file");
        let port = free_port();
        let process = Command::new("prometheus")
            .current_dir(folder)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus");
        Self { process, port }
    }

    /// The response of Prometheus; empty while it has not started.
    pub(crate) fn query(&self, query: &str) -> Value {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--get",
                "--data-urlencode",
                &format!("query={query}"),
            ])
            .arg(format!("http://127.0.0.1:{}/api/v1/query", self.port))
            .output()
            .expect("curl");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The alerting and recording rules of production.
pub(crate) fn rules() -> Value {
    documents(&render(&root().join("k8s/overlays/production")))
        .into_iter()
        .find(|document| document["kind"] == "PrometheusRule")
        .expect("production has alerts")["spec"]
        .take()
}

/// The rules and their tests, as promtool wants them.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = serde_saphyr::to_string(&rules()).expect("YAML");
    std::fs::write(folder.path().join("rules.yaml"), rules).expect("a file");
    let test = root().join("k8s/components/alerts/alerts_test.yaml");
    std::fs::copy(test, folder.path().join("alerts_test.yaml")).expect("a copy");
    folder
}

#[test]
#[ignore = "needs promtool"]
fn each_alert_fires_when_it_should_and_only_then() {
    let folder = workspace();
    for arguments in [
        ["check", "rules", "rules.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        succeed(
            Command::new("promtool")
                .current_dir(folder.path())
                .args(arguments),
        );
    }
}

#[test]
fn each_alert_has_a_test_for_either_case() {
    let text = std::fs::read_to_string(root().join("k8s/components/alerts/alerts_test.yaml"))
        .expect("tests");
    let rules = rules();
    let groups = rules["groups"].as_array().expect("groups").iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().expect("rules")) {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        for case in ["fires", "stays quiet"] {
            assert!(
                text.contains(&format!("name: {alert} {case}\n")),
                "{alert} {case} is not tested"
            );
        }
    }
}

#[test]
#[ignore = "needs prometheus and curl"]
fn every_query_of_rules_and_dashboard_is_answered_by_a_prometheus_that_scrapes_the_service() {
    let folder = workspace();
    let service = Program::new(service()).folder(folder.path()).start();
    let prometheus = Prometheus::start(folder.path(), service.admin().address());
    let query = |query: &str| prometheus.query(query);
    let rows = |answer: &Value| answer["data"]["result"].as_array().map_or(0, Vec::len);
    // Two scrapes after traffic make a rate.
    wait_for("traffic to be seen", || {
        service.get("/");
        service.get("/no-such-route");
        let rate = "sum(rate(http_server_request_duration_seconds_count[10s])) > 0";
        (rows(&query(rate)) > 0).then_some(())
    });

    let mut refused = Vec::new();
    let mut empty = Vec::new();
    for (name, text) in queries() {
        let answer = query(&text);
        if answer["status"] != "success" {
            refused.push(format!("{name}: {text}\n    {}", answer["error"]));
        } else if rows(&answer) == 0 && !may_be_empty(&text) {
            empty.push(format!("{name}: {text}"));
        }
    }
    assert!(refused.is_empty(), "refused:\n{}", refused.join("\n"));
    assert!(
        empty.is_empty(),
        "answered with nothing:\n{}",
        empty.join("\n")
    );
}

/// Whether a query may have no result: on a machine without limits, while nothing fails, or for a service without stores
/// and background tasks.
fn may_be_empty(query: &str) -> bool {
    [
        "cgroup_",
        "5..",
        "changes(",
        "job:http_errors:",
        "db_client_",
        "background_task_",
    ]
    .iter()
    .any(|part| query.contains(part))
}

/// The dashboard's queries as Grafana would send them, and those that autoscalers ask by the adapter or by KEDA. Those of the
/// alerts are the rules that this Prometheus runs; promtool tests them.
pub(crate) fn queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("k8s/components/dashboard/dashboard.json"))
        .expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query
                .replace("$__rate_interval", "10s")
                .replace("$namespace", ".*")
                .replace("$pod", ".*")
                .replace("$job", "service");
            queries.push((panel["title"].to_string(), query));
        }
    }
    let adapter = root().join("k8s/cluster/prometheus-adapter/values.yaml");
    let adapter: Value =
        serde_saphyr::from_slice(&std::fs::read(adapter).expect("values")).expect("YAML");
    let query = adapter["rules"]["custom"][0]["metricsQuery"]
        .as_str()
        .expect("a query")
        .replace("<<.Series>>", "http_server_request_duration_seconds_count")
        .replace(
            "<<.LabelMatchers>>",
            "namespace=\"service\",pod=~\"service-1\"",
        )
        .replace("<<.GroupBy>>", "pod")
        .replace("[2m]", "[10s]");
    queries.push(("adapter".to_owned(), query));
    let scaled = root().join("k8s/components/keda/scaled-object.yaml");
    let scaled: Value =
        serde_saphyr::from_slice(&std::fs::read(scaled).expect("a file")).expect("YAML");
    let trigger = &scaled["spec"]["triggers"][2];
    let query = trigger["metadata"]["query"].as_str().expect("a query");
    queries.push(("keda".to_owned(), query.replace("[2m]", "[10s]")));
    // The analysis queries of Argo Rollouts and Flagger.
    for (file, text) in crate::delivery::blocks(&root()) {
        for resource in documents(text.as_bytes()) {
            let spec = &resource["spec"];
            let asked = [
                &spec["metrics"][0]["provider"]["prometheus"]["query"],
                &spec["query"],
            ];
            let asked = asked.into_iter().filter_map(Value::as_str);
            queries.extend(asked.map(|query| (file.display().to_string(), query.to_owned())));
        }
    }
    assert!(queries.len() > 40, "{} queries", queries.len());
    queries
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its number")
        .port()
}
