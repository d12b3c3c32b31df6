//! Services on stores: their manifests are valid, and agree with a service on the same stores.

use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_chassis_check::Check;
use e2e::{edit, files, root, succeed};
use serde_json::Value;
use stores::Postgres;

use crate::check::assert_agree;
use crate::delivery::followed;
use crate::schemas::{checkov, valid_by_their_own_schemas, valid_in_every_version};
use crate::{documents, generated, orders, render};

/// Each answer, alone and with another.
const ANSWERS: [&[&str]; 5] = [
    &["database=postgres"],
    &["database=postgres", "redis=yes"],
    &["database=sqlite"],
    &["database=sqlite", "redis=yes"],
    &["redis=yes"],
];

/// The folders to apply, in this order: base, overlays, the steps before them, and the stores of your own cluster.
fn applied(folder: &Path) -> Vec<PathBuf> {
    let k8s = folder.join("k8s");
    let mut applied: Vec<PathBuf> = files(&k8s, &[])
        .iter()
        .filter(|file| file.ends_with("kustomization.yaml"))
        .filter_map(|file| file.parent())
        .filter(|file| {
            ["overlays", "migrate"]
                .iter()
                .any(|kind| file.starts_with(kind))
        })
        .filter(|file| file.components().count() == 2)
        .map(|file| k8s.join(file))
        .collect();
    applied.push(k8s.join("base"));
    let databases = k8s.join("cluster/databases");
    applied.extend(databases.exists().then_some(databases));
    applied
}

/// They are rendered, and left as files.
fn rendered(sources: &[PathBuf], into: &Path) -> Vec<PathBuf> {
    let file = |(index, source): (usize, &PathBuf)| {
        let file = into.join(format!("{index}.yaml"));
        std::fs::write(&file, render(source)).expect("a file");
        file
    };
    sources.iter().enumerate().map(file).collect()
}

#[test]
#[ignore = "needs kubectl, kubernetes-validate, node and @kubernetes-models"]
fn manifests_with_stores_are_valid_in_every_supported_version() {
    for answers in ANSWERS {
        let service = generated(answers);
        let secret = service
            .path()
            .join("k8s/components/external-secret/external-secret.yaml");
        let folder = tempfile::tempdir().expect("a folder");
        let files = rendered(&applied(service.path()), folder.path());
        valid_in_every_version(&files);
        let resources: Vec<Value> = files
            .iter()
            .chain([&secret])
            .flat_map(|file| documents(&std::fs::read(file).expect("a file")))
            .collect();
        valid_by_their_own_schemas(&resources);
    }
}

#[test]
#[ignore = "needs kubectl, checkov, yamllint and shellcheck"]
fn linters_find_nothing() {
    // One run of checkov for all, as it takes seconds to start.
    let mut checkov = checkov();
    let folder = tempfile::tempdir().expect("a folder");
    for answers in ANSWERS {
        let service = generated(answers);
        let k8s = service.path().join("k8s");
        let mut overlays = applied(service.path());
        // The base is in no namespace, and stores to try things on have no limits, probes and policies of their own.
        overlays.retain(|path| {
            !["base", "cluster/databases"]
                .iter()
                .any(|it| *path == k8s.join(it))
        });
        let folder = folder.path().join(answers.join("-"));
        std::fs::create_dir(&folder).expect("a folder");
        for file in rendered(&overlays, &folder) {
            checkov.arg("--file").arg(file);
        }
        succeed(
            Command::new("yamllint")
                .current_dir(service.path())
                .arg("--config-file")
                .arg(root().join(".yamllint"))
                .args(["--strict", "k8s", "config", "docker-compose.yml"]),
        );
        let scripts = files(&service.path().join("scripts"), &[]);
        succeed(
            Command::new("shellcheck")
                .current_dir(service.path().join("scripts"))
                .args(scripts),
        );
    }
    succeed(&mut checkov);
}

#[test]
#[ignore = "needs kubectl"]
fn manifests_pass_the_check_without_the_stores_of_the_service() {
    for answers in ANSWERS
        .iter()
        .filter(|answers| answers[0].starts_with("database"))
    {
        let service = generated(answers);
        assert_agree(&Check::new(service.path().join("k8s"), orders()));
    }
}

#[test]
#[ignore = "needs kubectl and PostgreSQL"]
fn a_store_that_is_named_has_alerts_and_dashboard_checked_too() {
    let service = generated(&["database=postgres"]);
    let postgres = Postgres::start();
    let secrets = tempfile::tempdir().expect("a folder");
    std::fs::write(secrets.path().join("database-url"), postgres.url()).expect("a file");
    let check = Check::new(service.path().join("k8s"), orders()).secrets(secrets.path());
    assert_agree(&check);

    let alerts = service.path().join("k8s/components/alerts/alerts.yaml");
    edit(
        &alerts,
        "http_server_request_duration_seconds",
        "http_requests_seconds",
    );
    let faults = check.run().expect("both can be looked at");
    let told = |field: &str| faults.iter().any(|fault| fault.field.contains(field));
    assert!(told("expr"), "{faults:?}");
}

/// The secret by file, the way out, and the step before: each names what was chosen, and nothing else.
#[test]
#[ignore = "needs kubectl"]
fn only_chosen_stores_are_named() {
    for answers in ANSWERS {
        let service = generated(answers);
        let rendered = documents(&render(&service.path().join("k8s/overlays/dev")));
        let of_kind = |kind: &str| {
            let documents = rendered.iter().filter(|document| document["kind"] == kind);
            documents.cloned().collect::<Vec<Value>>()
        };
        let secrets = of_kind("Secret");
        let ways: Vec<Value> = of_kind("NetworkPolicy")
            .iter()
            .flat_map(|policy| policy["spec"]["egress"].as_array().expect("egress").clone())
            .map(|rule| rule["ports"][0]["port"].clone())
            .collect();
        for (answer, file, port) in [
            ("database=postgres", "database-url", 5432),
            ("redis=yes", "redis-url", 6379),
        ] {
            let chosen = answers.contains(&answer);
            let held = secrets
                .iter()
                .any(|secret| secret["data"][file].is_string());
            assert_eq!(held, chosen, "{answers:?}: {file}");
            assert_eq!(ways.contains(&port.into()), chosen, "{answers:?}: {ways:?}");
        }
        let migrates = service.path().join("k8s/migrate").exists();
        assert_eq!(
            migrates,
            answers.contains(&"database=postgres"),
            "{answers:?}"
        );
    }
}

/// The Job is a step of its own: what is applied with it has other names, so that neither step takes away what the other
/// needs, and neither has to be applied for the other to be applied again.
#[test]
#[ignore = "needs kubectl"]
fn migrations_share_nothing_with_the_overlay_that_they_come_before() {
    let service = generated(&["database=postgres", "redis=yes"]);
    for overlay in ["dev", "production"] {
        let ids = |folder: &str| -> Vec<String> {
            let resources = documents(&render(
                &service.path().join("k8s").join(folder).join(overlay),
            ));
            let ids = resources.iter();
            ids.map(|it| format!("{} {}", it["kind"], it["metadata"]["name"]))
                .collect()
        };
        let (step, then) = (ids("migrate"), ids("overlays"));
        assert!(
            step.contains(&"\"Job\" \"service-migrate\"".to_owned()),
            "{step:?}"
        );
        assert!(
            step.iter().all(|id| !then.contains(id)),
            "{step:?} {then:?}"
        );
        assert!(!then.iter().any(|id| id.contains("Job")), "{then:?}");
    }
}

#[test]
#[ignore = "needs kubectl, kubernetes-validate, node and @kubernetes-models"]
fn the_examples_of_the_delivery_page_are_valid_and_pass_the_check() {
    let service = followed(generated(&["database=postgres"]));
    let overlay = service.path().join("k8s/overlays/argo-cd");
    let file = service.path().join("argo-cd.rendered");
    std::fs::write(&file, render(&overlay)).expect("a file");
    valid_in_every_version(std::slice::from_ref(&file));
    let pages = ["argo-cd.yaml", "flux.yaml"].map(|name| service.path().join(name));
    let read = |file: &PathBuf| documents(&std::fs::read(file).expect("a file"));
    let all: Vec<Value> = pages.iter().chain([&file]).flat_map(read).collect();
    valid_by_their_own_schemas(&all);

    let wave = |resource: &Value| -> i64 {
        let wave = &resource["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"];
        wave.as_str()
            .map_or(0, |wave| wave.parse().expect("a number"))
    };
    for resource in read(&file) {
        let name = resource["metadata"]["name"].as_str().expect("a name");
        let needed = resource["kind"] == "Namespace" || name.contains("-migrate");
        let expected = match resource["kind"].as_str() {
            Some("Job") => -1,
            _ if needed => -2,
            _ => 0,
        };
        assert_eq!(wave(&resource), expected, "{name}");
    }

    let check = Check::new(service.path().join("k8s"), orders()).only("overlays/argo-cd");
    assert_agree(&check);
    // A Job that is not a hook would be applied beside the Deployment.
    edit(
        &overlay.join("kustomization.yaml"),
        "argocd.argoproj.io/hook: Sync",
        "a: b",
    );
    let faults = check.run().expect("both can be looked at");
    assert!(
        faults
            .iter()
            .any(|fault| fault.remedy.contains("as a hook")),
        "{faults:?}"
    );
}
