//! Valid by the schemas of Kubernetes' versions and of custom resources, and by the linters of their kind.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::{root, succeed};
use serde_json::Value;

use crate::{applied, combinations, copy, documents, render};

/// The oldest that knows every field here, one between, and the three that are maintained.
const VERSIONS: [&str; 5] = ["1.30", "1.32", "1.35", "1.36", "1.37"];

/// Everything that anyone would apply, as files.
fn rendered(folder: &Path) -> Vec<std::path::PathBuf> {
    let copy = copy();
    let mut sources = applied();
    sources.extend(combinations(copy.path()));
    let mut files = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let file = folder.join(format!("{index}.yaml"));
        std::fs::write(&file, render(source)).expect("a file");
        files.push(file);
    }
    files
}

/// Strictly, by the schemas of each version.
pub(crate) fn valid_in_every_version(files: &[std::path::PathBuf]) {
    for version in VERSIONS {
        succeed(
            Command::new("kubernetes-validate")
                .args(["--strict", "--quiet", "--no-warn", "-k", version])
                .args(files),
        );
    }
}

/// Strictly, by the schemas of the custom resources.
pub(crate) fn valid_by_their_own_schemas(resources: &[Value]) {
    let modules = std::env::var_os("NODE_MODULES").unwrap_or_else(|| "node_modules".into());
    let mut node = Command::new("node")
        .arg(root().join("tests/e2e/tools/crds.mjs"))
        .env("NODE_MODULES", modules)
        .stdin(Stdio::piped())
        .spawn()
        .expect("node");
    let text = serde_json::to_vec(resources).expect("JSON");
    node.stdin
        .take()
        .expect("a pipe")
        .write_all(&text)
        .expect("a reader");
    assert!(node.wait().expect("its end").success());
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate"]
fn every_overlay_and_component_is_valid_in_every_supported_version() {
    let folder = tempfile::tempdir().expect("a folder");
    valid_in_every_version(&rendered(folder.path()));
}

#[test]
#[ignore = "needs kubectl, node and @kubernetes-models, by NODE_MODULES"]
fn custom_resources_are_valid_by_their_own_schemas() {
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<_> = rendered(folder.path())
        .iter()
        .flat_map(|file| documents(&std::fs::read(file).expect("a file")))
        .collect();
    valid_by_their_own_schemas(&all);
}

#[test]
#[ignore = "needs kubectl and checkov"]
fn checkov_finds_nothing_but_the_exceptions_that_are_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut checkov = checkov();
    // Overlays alone: the base is in no namespace, and Fluent Bit reads the nodes' files, which no restricted
    // pod may.
    for overlay in applied()
        .iter()
        .filter(|path| path.starts_with(root().join("k8s/overlays")))
    {
        let file = folder
            .path()
            .join(overlay.file_name().expect("a name"))
            .with_extension("yaml");
        std::fs::write(&file, render(overlay)).expect("a file");
        checkov.arg("--file").arg(file);
    }
    succeed(&mut checkov);
}

/// With the exceptions that are explained.
pub(crate) fn checkov() -> Command {
    let mut checkov = Command::new("checkov");
    checkov
        .arg("--config-file")
        .arg(root().join(".checkov.yaml"));
    checkov
}

#[test]
#[ignore = "needs yamllint"]
fn yaml_has_one_style() {
    succeed(
        Command::new("yamllint")
            .current_dir(root())
            .args(["--strict", "k8s", "config"]),
    );
}

#[test]
#[ignore = "needs kubectl"]
fn every_namespace_of_a_service_enforces_restricted() {
    for overlay in applied()
        .iter()
        .filter(|path| path.starts_with(root().join("k8s/overlays")))
    {
        let namespaces: Vec<_> = documents(&render(overlay))
            .into_iter()
            .filter(|document| document["kind"] == "Namespace")
            .collect();
        assert_eq!(namespaces.len(), 1, "{}", overlay.display());
        assert_eq!(
            namespaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            "restricted"
        );
    }
}
