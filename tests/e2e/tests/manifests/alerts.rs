//! Alerts about what the example service has none of, fired in a real Prometheus by services that have it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum_chassis::settings::Sources;
use axum_chassis::{Chassis, Service};
use axum_chassis_testing::Program;
use e2e::{built, cargo, root, wait_for};
use serde_json::Value;
use stores::Postgres;

use crate::prometheus::{Prometheus, queries, rules};

/// The rules, without the time that they wait before they fire.
fn impatient() -> tempfile::TempDir {
    let mut rules = rules();
    let groups = rules["groups"].as_array_mut().expect("groups").iter_mut();
    for rule in groups.flat_map(|group| group["rules"].as_array_mut().expect("rules")) {
        rule.as_object_mut().expect("a rule").remove("for");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let rules = serde_saphyr::to_string(&rules).expect("YAML");
    std::fs::write(folder.path().join("rules.yaml"), rules).expect("a file");
    folder
}

/// The labels of the alerts of this name that fire now, but for those that are the target's; none if Prometheus does not
/// answer.
fn firing(prometheus: &Prometheus, alert: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let query = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
    let answer = prometheus.query(&query);
    let rows = answer["data"]["result"].as_array()?.iter();
    let labels = rows.map(|row| {
        let labels = row["metric"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = labels.map(|(name, value)| (name.clone(), text(value)));
        let target = ["__name__", "alertname", "alertstate", "instance", "track"];
        labels
            .filter(|(name, _)| !target.contains(&name.as_str()))
            .collect()
    });
    Some(labels.collect())
}

/// Waits until the alert fires, once and with these labels.
fn fires(prometheus: &Prometheus, alert: &str, labels: &[(&str, &str)]) {
    let all = labels
        .iter()
        .chain(&[("namespace", "service"), ("job", "service")]);
    let expected = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let expected = vec![expected.collect::<BTreeMap<_, _>>()];
    let fired = wait_for(alert, || {
        firing(prometheus, alert).filter(|fired| !fired.is_empty())
    });
    assert_eq!(fired, expected, "{alert}");
}

/// Waits until it does not fire.
fn is_quiet(prometheus: &Prometheus, alert: &str) {
    wait_for(&format!("{alert} to end"), || {
        firing(prometheus, alert)?.is_empty().then_some(())
    });
}

/// A panel that is meant for such a service shows something.
fn shows(prometheus: &Prometheus, metric: &str) {
    let panels: Vec<_> = queries()
        .into_iter()
        .filter(|(_, query)| query.contains(metric))
        .collect();
    assert!(!panels.is_empty(), "no panel has {metric}");
    for (panel, query) in panels {
        wait_for(&format!("{panel}: {query}"), || {
            let answer = prometheus.query(&query);
            (!answer["data"]["result"].as_array()?.is_empty()).then_some(())
        });
    }
}

fn orders() -> PathBuf {
    built(cargo(&root()).args(["build", "--package=example-orders"]))
}

#[test]
#[ignore = "needs prometheus, curl, kubectl and PostgreSQL"]
fn a_pool_that_is_full_and_a_database_that_is_gone_fire_their_alerts_and_end_them() {
    let mut postgres = Postgres::start();
    let program = || {
        Program::new(orders())
            .variable("DATABASE_URL", postgres.url())
            .set("database.max_connections", 2)
            .set("health.interval", "100ms")
            .set("health.failures", 2)
    };
    assert_eq!(program().argument("migrate").output().code, Some(0));
    let service = program().start();
    let folder = impatient();
    let prometheus = Prometheus::start(folder.path(), service.admin().address());

    let lock = postgres.lock_orders();
    thread::scope(|scope| {
        // Each keeps a connection until the lock is gone, or its statement has taken too long.
        for number in 0..2 {
            let order = format!(r#"{{"reference": "R-{number}", "item": "tea", "quantity": 2}}"#);
            let service = &service;
            scope.spawn(move || service.post("/orders", order));
        }
        let pod = ("pod", "service-1");
        let pool = ("db_client_connection_pool_name", "database");
        fires(
            &prometheus,
            "PoolExhausted",
            &[("severity", "ticket"), pod, pool],
        );
        drop(lock);
    });
    is_quiet(&prometheus, "PoolExhausted");
    shows(&prometheus, "db_client_connection_");

    assert_eq!(firing(&prometheus, "StoreDown"), Some(Vec::new()));
    postgres.stop();
    let check = ("check", "database");
    fires(&prometheus, "StoreDown", &[("severity", "page"), check]);
    postgres.start_again();
    is_quiet(&prometheus, "StoreDown");
}

#[test]
#[ignore = "needs prometheus, curl and kubectl"]
fn a_check_that_is_slow_and_a_background_task_that_goes_on_failing_fire_their_alerts() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let start = async |chassis: Chassis<()>| {
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            anyhow::Ok(())
        };
        chassis.readiness().check("queue", slow);
        chassis.spawn("outbox", |_| async { anyhow::bail!("no such queue") });
        Ok(Router::new())
    };
    let service = Service::<()>::new("service", "1.0.0").start(Sources::empty(), start);
    let service = runtime.block_on(service).expect("a service");
    let folder = impatient();
    let prometheus = Prometheus::start(folder.path(), service.admin());
    let [severity, pod, check] = [
        ("severity", "ticket"),
        ("pod", "service-1"),
        ("check", "queue"),
    ];
    fires(&prometheus, "StoreSlow", &[severity, pod, check]);
    fires(
        &prometheus,
        "BackgroundTaskFailing",
        &[severity, ("task", "outbox")],
    );
    shows(&prometheus, "background_task_");
    assert!(runtime.block_on(service.stop()).is_graceful());
}
