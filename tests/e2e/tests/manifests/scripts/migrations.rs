//! The step that deploy.sh and promote.sh take before a pod is changed.

use super::{Stub, code};
use crate::generated;

/// The step before the overlay, which is the same whichever script takes it.
const MIGRATION: [&str; 3] = [
    "delete job/service-migrate --ignore-not-found --wait=true",
    "apply --filename",
    "get job/service-migrate",
];

fn in_this_order(calls: &str, order: &[&str]) {
    let mut rest = calls;
    for call in order {
        let (_, after) = rest
            .split_once(call)
            .unwrap_or_else(|| panic!("{call} is not in its place in {calls}"));
        rest = after;
    }
}

#[test]
#[ignore = "needs kubectl"]
fn the_database_is_brought_up_to_date_once_before_a_pod_is_changed() {
    let image = "reg.example.com/service:2";
    for (script, arguments, before, after) in [
        (
            "deploy.sh",
            &["--image", image][..],
            // The cluster's opinion comes first, then what the Job needs.
            &["--dry-run=server", "--selector apply=first"][..],
            &["apply --filename", "rollout status deployment/service "][..],
        ),
        (
            "promote.sh",
            &["stage", image],
            &[],
            &["set image deployment/service-green "],
        ),
        (
            "promote.sh",
            &["canary", "start", image],
            &[],
            &["rollout status deployment/service-canary "],
        ),
    ] {
        let stub = Stub::of(generated(&["database=postgres"]));
        let output = stub.run(script, arguments, &[]);
        assert_eq!(code(&output), 0, "{script}: {output:?}");
        in_this_order(&stub.calls(), &[before, &MIGRATION, after].concat());
        assert_eq!(
            stub.calls().matches("delete job/").count(),
            1,
            "{}",
            stub.calls()
        );
    }
}

#[test]
#[ignore = "needs kubectl"]
fn a_migration_that_fails_shows_its_log_and_no_pod_is_changed() {
    let image = "reg.example.com/service:2";
    for (script, arguments) in [
        ("deploy.sh", &["--image", image][..]),
        ("promote.sh", &["stage", image]),
        ("promote.sh", &["canary", "start", image]),
    ] {
        let stub = Stub::of(generated(&["database=postgres"]));
        let output = stub.run(script, arguments, &[("JOB", "FailureTarget Failed")]);
        assert_eq!(code(&output), 1, "{script}: {output:?}");
        let calls = stub.calls();
        in_this_order(
            &calls,
            &[&MIGRATION[..], &["logs job/service-migrate"]].concat(),
        );
        let (_, after) = calls.split_once("get job/").expect("a look at it");
        for change in ["apply", "set image", "rollout", "patch", "scale"] {
            assert!(!after.contains(change), "{script}: {calls}");
        }
    }
}

#[test]
#[ignore = "needs kubectl"]
fn a_dry_run_names_the_migrations_and_runs_none() {
    let stub = Stub::of(generated(&["database=postgres"]));
    let image = "reg.example.com/service:2";
    let output = stub.run("deploy.sh", &["--dry-run", "--image", image], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("k8s/migrate/production"), "{said}");
    let output = stub.run("promote.sh", &["--dry-run", "stage", image], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(!stub.calls().contains("job/"), "{}", stub.calls());
}

#[test]
#[ignore = "needs kubectl"]
fn an_overlay_without_migrations_is_not_deployed_by_mistake() {
    let stub = Stub::of(generated(&["database=postgres"]));
    let arguments = ["--overlay", "k8s/overlays/canary/track", "--image", "x:1"];
    let output = stub.run("deploy.sh", &arguments, &[]);
    assert_eq!(code(&output), 64, "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("k8s/migrate/track"), "{said}");
}
