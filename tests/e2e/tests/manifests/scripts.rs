//! deploy.sh and promote.sh against a kubectl that only writes down what it is asked.

mod migrations;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{files, root, succeed};

use crate::{copy, rendered};

/// Renders for real, notes everything else, and fails what `FAILS` names.
const KUBECTL: &str = r#"#!/bin/bash
if [ "$1" = kustomize ]; then exec "$REAL_KUBECTL" "$@"; fi
echo "$*" >>"$CALLS"
case "$*" in *"${FAILS:-nothing fails}"*) echo "stub: refused" >&2; exit 1 ;; esac
case "$*" in
  *port-forward*) exec python3 -c "
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(${READINESS:-200}); self.end_headers()
    def log_message(self, *_): pass
s = http.server.HTTPServer(('127.0.0.1', 0), H)
print(f'Forwarding from 127.0.0.1:{s.server_port} -> 8080', flush=True)
s.serve_forever()" ;;
  *get\ job*) echo -n "${JOB-Complete}" ;;
  *jsonpath*revision*) echo -n "$(grep -c '^apply --filename\|set image' "$CALLS")" | sed 's/^0$/3/' ;;
  *jsonpath*track*) echo -n blue ;;
  *jsonpath*readyReplicas*) echo -n 3 ;;
  *jsonpath*image*) echo -n reg.example.com/service:2 ;;
  *jsonpath*metadata.name*) echo -n service-canary ;;
  *get\ httproute*) echo -n "${ROUTE-}" ;;
  *get\ endpointslices*) echo -n "${ADDRESSES-10.0.0.1}" ;;
esac
"#;

struct Stub {
    copy: tempfile::TempDir,
}

impl Stub {
    fn new() -> Self {
        Self::of(copy())
    }

    fn of(copy: tempfile::TempDir) -> Self {
        let stub = copy.path().join("bin/kubectl");
        std::fs::create_dir(copy.path().join("bin")).expect("a folder");
        std::fs::write(&stub, KUBECTL).expect("a stub");
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755))
            .expect("executable");
        std::fs::write(copy.path().join("calls"), "").expect("a file");
        Self { copy }
    }

    fn run(&self, script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let real = succeed(Command::new("sh").args(["-c", "command -v kubectl"])).stdout;
        let path = std::env::var("PATH").expect("PATH");
        Command::new(self.copy.path().join("scripts").join(script))
            .args(arguments)
            .env(
                "PATH",
                format!("{}:{path}", self.copy.path().join("bin").display()),
            )
            .env("REAL_KUBECTL", String::from_utf8_lossy(&real).trim())
            .env("CALLS", self.copy.path().join("calls"))
            .envs(env.iter().copied())
            .output()
            .expect("the script runs")
    }

    /// Lets no time pass in a script that waits.
    fn skip_waits(&self) {
        std::os::unix::fs::symlink("/bin/true", self.copy.path().join("bin/sleep"))
            .expect("a program");
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.copy.path().join("calls")).expect("calls")
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

#[test]
#[ignore = "needs shellcheck"]
fn the_scripts_are_clean() {
    succeed(Command::new("shellcheck").current_dir(rendered()).args([
        "--external-sources",
        "scripts/deploy.sh",
        "scripts/promote.sh",
        "scripts/readiness.sh",
    ]));
    succeed(Command::new("shellcheck").current_dir(root()).args([
        "--external-sources",
        "tests/e2e/cluster.sh",
        "tests/e2e/soak.sh",
        "tests/e2e/walk.sh",
        "tests/e2e/images/postgres/entrypoint.sh",
    ]));
}

#[test]
#[ignore = "needs kubectl"]
fn a_deployment_that_becomes_ready_succeeds_and_changes_no_file() {
    let stub = Stub::new();
    let before = listing(stub.copy.path());
    let output = stub.run("deploy.sh", &["--image", "reg.example.com/service:2"], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        stub.calls()
            .contains("rollout status deployment/service --timeout=300s")
    );
    assert!(!stub.calls().contains("undo"));
    assert_eq!(before, listing(stub.copy.path()));
}

#[test]
#[ignore = "needs kubectl"]
fn a_rollout_that_does_not_finish_is_rolled_back() {
    let stub = Stub::new();
    let output = stub.run(
        "deploy.sh",
        &["--image", "reg.example.com/service:2"],
        &[("FAILS", "rollout status deployment/service --timeout=300s")],
    );
    assert_ne!(code(&output), 0);
    assert!(
        stub.calls()
            .contains("rollout undo deployment/service --to-revision=3"),
        "{}",
        stub.calls()
    );
}

#[test]
#[ignore = "needs kubectl"]
fn a_version_that_does_not_become_ready_is_rolled_back() {
    let stub = Stub::new();
    let output = stub.run(
        "deploy.sh",
        &["--image", "reg.example.com/service:2"],
        &[("READINESS", "503")],
    );
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(stub.calls().contains("rollout undo"), "{}", stub.calls());
}

#[test]
#[ignore = "needs kubectl"]
fn manifests_that_the_cluster_would_reject_are_not_applied_in_part() {
    let stub = Stub::new();
    let output = stub.run(
        "deploy.sh",
        &["--image", "reg.example.com/service:2"],
        &[("FAILS", "--dry-run=server")],
    );
    assert_eq!(code(&output), 1);
    assert!(
        !stub.calls().contains("apply --filename"),
        "{}",
        stub.calls()
    );
}

#[test]
#[ignore = "needs kubectl"]
fn a_dry_run_changes_nothing() {
    let stub = Stub::new();
    for (script, arguments) in [
        (
            "deploy.sh",
            &[
                "--dry-run",
                "--registry",
                "reg.example.com",
                "--version",
                "2",
            ][..],
        ),
        ("promote.sh", &["--dry-run", "switch"]),
        (
            "promote.sh",
            &["--dry-run", "stage", "reg.example.com/service:2"],
        ),
        (
            "promote.sh",
            &["--dry-run", "canary", "start", "reg.example.com/service:2"],
        ),
        ("promote.sh", &["--dry-run", "canary", "share", "25"]),
        ("promote.sh", &["--dry-run", "canary", "finish"]),
        ("promote.sh", &["--dry-run", "canary", "abort"]),
    ] {
        let output = stub.run(script, arguments, &[]);
        assert_eq!(code(&output), 0, "{script} {arguments:?}: {output:?}");
    }
    let changes = ["patch", "scale", "delete", "set image", "undo"];
    for call in stub.calls().lines() {
        let harmless = !changes.iter().any(|change| call.contains(change));
        let judged = !call.starts_with("apply") || call.contains("--dry-run=server");
        assert!(harmless && judged, "{call}");
    }
}

#[test]
#[ignore = "needs kubectl"]
fn invalid_arguments_reach_neither_yaml_nor_the_cluster() {
    let stub = Stub::new();
    for arguments in [
        &["--image", "x; rm -rf /:1"][..],
        &["--image", "x:1\n  - name: y"],
        &["--image", "noversion"],
        &["--registry", "reg.example.com/$(id)", "--version", "1"],
        &["--registry", "reg.example.com", "--version", "a b"],
        &["--timeout", "long", "--image", "x:1"],
        &["--overlay", "k8s/overlays/blue-green", "--image", "x:1"],
        &["--what"],
    ] {
        assert_eq!(
            code(&stub.run("deploy.sh", arguments, &[])),
            64,
            "{arguments:?}"
        );
    }
    for arguments in [
        &["switch", "red"][..],
        &["canary", "share", "100"],
        &["canary", "start", "x y"],
        &["dance"],
        &[],
    ] {
        assert_eq!(
            code(&stub.run("promote.sh", arguments, &[])),
            64,
            "{arguments:?}"
        );
    }
    assert!(!stub.calls().contains("apply"), "{}", stub.calls());
}

#[test]
#[ignore = "needs kubectl"]
fn a_switch_goes_to_the_other_color_and_is_reverted_if_it_does_not_respond() {
    let stub = Stub::new();
    let output = stub.run("promote.sh", &["switch"], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(patched(&stub, "service/service ", "green"));
    assert!(patched(&stub, "service/service-preview ", "blue"));

    let stub = Stub::new();
    let output = stub.run("promote.sh", &["switch"], &[("READINESS", "503")]);
    assert_eq!(code(&output), 1);
    assert!(
        patched(&stub, "service/service ", "green") && patched(&stub, "service/service ", "blue")
    );

    let stub = Stub::new();
    let output = stub.run(
        "promote.sh",
        &["switch"],
        &[("FAILS", "rollout status deployment/service-green")],
    );
    assert_eq!(code(&output), 1);
    assert!(!stub.calls().contains("patch"), "{}", stub.calls());
}

fn patched(stub: &Stub, what: &str, colour: &str) -> bool {
    stub.calls()
        .lines()
        .any(|call| call.contains("patch") && call.contains(what) && call.contains(colour))
}

#[test]
#[ignore = "needs kubectl"]
fn a_canary_that_does_not_become_ready_is_removed() {
    let stub = Stub::new();
    let output = stub.run(
        "promote.sh",
        &["canary", "start", "reg.example.com/service:2"],
        &[("FAILS", "rollout status")],
    );
    assert_eq!(code(&output), 1);
    assert!(
        stub.calls().contains("delete deployment/service-canary"),
        "{}",
        stub.calls()
    );
}

#[test]
#[ignore = "needs kubectl"]
fn a_share_by_replicas_is_the_nearest_possible() {
    let stub = Stub::new();
    let output = stub.run("promote.sh", &["canary", "share", "50"], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        stub.calls()
            .contains("scale deployment/service-canary --replicas=3"),
        "{}",
        stub.calls()
    );
}

const ROUTED: (&str, &str) = ("ROUTE", "httproute.gateway.networking.k8s.io/service");

#[test]
#[ignore = "needs kubectl"]
fn a_share_by_weight_needs_no_edit() {
    let stub = Stub::new();
    for arguments in [
        &["canary", "start", "reg.example.com/service:2"][..],
        &["canary", "share", "25"],
        &["canary", "finish"],
    ] {
        let output = stub.run("promote.sh", arguments, &[ROUTED]);
        assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
    }
    let calls = stub.calls();
    let order = [
        // The canary gets nothing before it is asked for.
        "apply --filename k8s/components/canary-weights/services.yaml",
        "get endpointslices --selector kubernetes.io/service-name=service-stable",
        r#""service-canary","port":80,"weight":0"#,
        "rollout status deployment/service-canary",
        "get endpointslices --selector kubernetes.io/service-name=service-canary",
        r#""service-canary","port":80,"weight":25"#,
        "set image deployment/service ",
        // Nothing is sent to it when it goes, and the route is left as the overlay has it.
        r#""service-canary","port":80,"weight":0"#,
        "delete deployment/service-canary",
        r#""value":[{"name":"service","port":80,"weight":1}]"#,
    ];
    let mut rest = calls.as_str();
    for call in order {
        let (_, after) = rest
            .split_once(call)
            .unwrap_or_else(|| panic!("{call} is not in its place in {calls}"));
        rest = after;
    }
    assert!(!calls.contains("scale"), "{calls}");
}

#[test]
#[ignore = "needs kubectl"]
fn a_large_share_by_weight_has_the_pods_that_it_takes() {
    let stub = Stub::new();
    let output = stub.run("promote.sh", &["canary", "share", "60"], &[ROUTED]);
    assert_eq!(code(&output), 0, "{output:?}");
    let calls = stub.calls();
    let (before, _) = calls.split_once("\"weight\":60").expect("a weight");
    assert!(
        before.contains("scale deployment/service-canary --replicas=5"),
        "{calls}"
    );
}

#[test]
#[ignore = "needs kubectl"]
fn no_request_is_sent_to_a_service_without_addresses() {
    let stub = Stub::new();
    stub.skip_waits();
    let output = stub.run(
        "promote.sh",
        &["canary", "start", "reg.example.com/service:2"],
        &[ROUTED, ("ADDRESSES", "")],
    );
    assert_eq!(code(&output), 1);
    assert!(!stub.calls().contains("patch"), "{}", stub.calls());
}

#[test]
#[ignore = "needs kubectl"]
fn a_canary_is_finished_only_after_everyone_runs_its_image() {
    let stub = Stub::new();
    let output = stub.run("promote.sh", &["canary", "finish"], &[]);
    assert_eq!(code(&output), 0, "{output:?}");
    let calls = stub.calls();
    let at = |what: &str| {
        calls
            .find(what)
            .unwrap_or_else(|| panic!("{what} in {calls}"))
    };
    assert!(
        at("set image deployment/service app=reg.example.com/service:2")
            < at("rollout status deployment/service ")
    );
    assert!(at("rollout status deployment/service ") < at("delete deployment/service-canary"));

    let stub = Stub::new();
    let output = stub.run(
        "promote.sh",
        &["canary", "finish"],
        &[("FAILS", "rollout status")],
    );
    assert_eq!(code(&output), 1);
    assert!(
        stub.calls().contains("rollout undo deployment/service"),
        "{}",
        stub.calls()
    );
    assert!(!stub.calls().contains("delete"), "{}", stub.calls());
}

fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(folder, &["calls"])
        .into_iter()
        .map(|path| {
            let contents = std::fs::read(folder.join(&path)).expect("a file");
            (path, contents)
        })
        .collect()
}
