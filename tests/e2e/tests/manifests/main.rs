//! Manifests, alerts, dashboard and scripts: valid by their own schemas and tools, and in agreement with the binary.
//!
//! `cargo test -p e2e --test manifests -- --ignored` runs those that need more than Rust: kubectl, promtool and
//! prometheus, PostgreSQL, kubernetes-validate, checkov, yamllint, shellcheck, node with @kubernetes-models.

mod alerts;
mod check;
mod delivery;
mod logs;
mod maintained;
mod prometheus;
mod runbooks;
mod schemas;
mod scripts;
mod security;
mod stores;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cargo_chassis::template::render_here;
use e2e::{built, cargo, root, succeed};
use serde::Deserialize;
use serde_json::Value;

/// The example service, built once.
fn service() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
        let mut build = cargo(&root());
        build.args([
            "build",
            "--quiet",
            "--package",
            "axum-chassis",
            "--example",
            "service",
        ]);
        succeed(build.arg("--target-dir").arg(&target));
        target.join("debug/examples/service")
    })
}

/// The example service on stores, built once.
fn orders() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built(cargo(&root()).args(["build", "--package=example-orders"])))
}

/// The manifests of a folder, as kubectl renders them.
fn render(folder: &Path) -> Vec<u8> {
    succeed(Command::new("kubectl").arg("kustomize").arg(folder)).stdout
}

fn documents(yaml: &[u8]) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_slice(yaml)
        .map(|document| Value::deserialize(document).expect("kustomize renders YAML"))
        .collect()
}

/// A copy of what a service's repository has for its deployment, to be changed.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (from, part) in [
        (root(), "k8s"),
        (rendered(), "docs/runbooks"),
        (root(), "config"),
        (rendered(), "scripts"),
        (root(), "Dockerfile"),
        (root(), "Dockerfile.distroless"),
    ] {
        if from.join(part).exists() {
            let target = folder.path().join(part);
            let parent = target.parent().expect("the folder");
            std::fs::create_dir_all(parent).expect("a folder");
            succeed(
                Command::new("cp")
                    .arg("-r")
                    .arg(from.join(part))
                    .arg(parent),
            );
        }
    }
    let dockerfile = folder.path().join("Dockerfile");
    if !dockerfile.exists() {
        let text = "FROM scratch\nWORKDIR /app\nUSER 65532:65532\nEXPOSE 8080 9090\nENTRYPOINT [\"/app/service\"]\n";
        std::fs::write(dockerfile, text).expect("a Dockerfile");
    }
    folder
}

/// The template, rendered once for the service of this checkout: the root has none of its scripts and runbooks.
fn rendered() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("manifests");
        let _ = std::fs::remove_dir_all(&folder);
        e2e::copy(generated(&["added=yes"]).path(), &folder);
        folder
    });
    folder.clone()
}

/// Generates a service named `service` from these answers.
fn generated(answers: &[&str]) -> tempfile::TempDir {
    let (parent, folder) = (tempfile::tempdir(), tempfile::tempdir());
    let (parent, folder) = (parent.expect("a folder"), folder.expect("a folder"));
    let mut define: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    define.push("chassis=registry".to_owned());
    let service = render_here(&root().join("template"), parent.path(), "service", &define);
    e2e::copy(&service.expect("a service"), folder.path());
    folder
}

/// Every kustomization that is applied: base, overlays, and what a cluster has once.
fn applied() -> Vec<PathBuf> {
    let k8s = root().join("k8s");
    [
        "base",
        "overlays/dev",
        "overlays/production",
        "overlays/blue-green",
        "overlays/canary",
        "cluster/fluent-bit",
        "cluster/gateway",
    ]
    .map(|name| k8s.join(name))
    .to_vec()
}

/// A folder whose kustomization adds `components` to the base, beside the copy's others.
fn with_components(copy: &Path, components: &[String]) -> PathBuf {
    let folder = copy.join("k8s/overlays").join(components.join("-"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let listed: String = components
        .iter()
        .map(|name| format!("  - ../../components/{name}\n"))
        .collect();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../base]\ncomponents:\n{listed}"
    );
    std::fs::write(folder.join("kustomization.yaml"), text).expect("a kustomization");
    folder
}

/// The components that stand alone, and those that need another.
fn components() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for entry in root()
        .join("k8s/components")
        .read_dir()
        .expect("components")
    {
        let name = entry.expect("a folder").file_name().display().to_string();
        all.push(match name.as_str() {
            "hpa-requests" => vec!["hpa".to_owned(), name],
            "canary-weights" => continue, // needs the canary's pods: `agreement` has it
            _ => vec![name],
        });
    }
    all.sort();
    all
}

/// Folders of the copy, one for each component by itself and for each combination that k8s/README.md names.
fn combinations(copy: &Path) -> Vec<PathBuf> {
    let alone = components();
    let mut folders: Vec<PathBuf> = alone
        .iter()
        .map(|names| with_components(copy, names))
        .collect();
    for (overlay, with, without) in [
        (
            "production",
            &["keda", "external-secret", "pull-secret", "egress", "vpa"][..],
            &["hpa"][..],
        ),
        ("production", &["ingress", "hpa-requests"], &["gateway"]),
        ("canary", &["canary-weights"], &[]),
    ] {
        let overlays = copy.join("k8s/overlays");
        let folder = overlays.join(format!("{overlay}-{}", with.join("-")));
        succeed(
            Command::new("cp")
                .arg("-r")
                .arg(overlays.join(overlay))
                .arg(&folder),
        );
        choose(&folder.join("kustomization.yaml"), with, without);
        folders.push(folder);
    }
    folders
}

/// Makes lines of `kustomization` count that name a component of `with` in a comment, and drops those of `without`.
fn choose<S: AsRef<str>>(kustomization: &Path, with: &[S], without: &[S]) {
    let text = std::fs::read_to_string(kustomization).expect("a kustomization");
    let names = |line: &str, components: &[S]| {
        let mut components = components.iter().map(AsRef::as_ref);
        components.any(|name| line == format!("- ../../components/{name}"))
    };
    let mut chosen = String::new();
    for line in text.lines() {
        let bare = line.trim_start_matches([' ', '#']);
        if names(bare, without) {
            continue;
        }
        if names(bare, with) {
            chosen.push_str("  ");
            chosen.push_str(bare);
        } else if bare == "components:" {
            chosen.push_str(bare);
        } else {
            chosen.push_str(line);
        }
        chosen.push('\n');
    }
    std::fs::write(kustomization, chosen).expect("a file");
}
