//! The manifests that a GitOps controller applies: overlays as they are, and the files that k8s/delivery.md gives.

use std::path::{Path, PathBuf};

use cargo_chassis_check::Check;
use e2e::{edit, root};
use serde_json::Value;

use crate::check::assert_agree;
use crate::schemas::{valid_by_their_own_schemas, valid_in_every_version};
use crate::{copy, documents, render, service};

const OVERLAYS: [&str; 4] = ["dev", "production", "blue-green", "canary"];

/// The page's blocks of YAML: the file that each is, and what is in it.
pub(crate) fn blocks(folder: &Path) -> Vec<(PathBuf, String)> {
    let page = std::fs::read_to_string(folder.join("k8s/delivery.md")).expect("a page");
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .map(|block| {
            let (block, _) = block.split_once("```").expect("an end");
            let (file, text) = block.split_once('\n').expect("a first line");
            let file = file.strip_prefix("# ").expect("a file's name");
            (PathBuf::from(file), text.to_owned())
        })
        .collect()
}

/// A copy with the page's files in their places.
pub(crate) fn followed(copy: tempfile::TempDir) -> tempfile::TempDir {
    for (file, text) in blocks(copy.path()) {
        let file = copy.path().join(file);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a file");
    }
    copy
}

#[test]
#[ignore = "needs kubectl, kubernetes-validate, node and @kubernetes-models"]
fn the_examples_of_the_page_render_and_are_valid() {
    let copy = followed(copy());
    let files = [copy.path().join("rollouts"), copy.path().join("flagger")];
    for file in &files {
        let overlay = copy
            .path()
            .join("k8s/overlays")
            .join(file.file_name().expect("a name"));
        std::fs::write(file, render(&overlay)).expect("a file");
    }
    valid_in_every_version(&files);
    let plain = ["argo-cd.yaml", "flux.yaml"].map(|file| copy.path().join(file));
    let resources: Vec<Value> = files
        .iter()
        .chain(&plain)
        .flat_map(|file| documents(&std::fs::read(file).expect("a file")))
        // There is no package with Flagger's schemas.
        .filter(|resource| resource["apiVersion"] != "flagger.app/v1beta1")
        .collect();
    valid_by_their_own_schemas(&resources);
}

#[test]
#[ignore = "needs kubectl"]
fn a_rollout_in_place_of_the_deployment_passes_the_check() {
    let copy = followed(copy());
    assert_agree(&Check::new(copy.path().join("k8s"), service()).only("overlays/rollouts"));
}

#[test]
fn controllers_are_given_an_overlay_that_exists() {
    let mut paths = Vec::new();
    for (_, text) in blocks(&root()) {
        for resource in documents(text.as_bytes()) {
            let spec = &resource["spec"];
            paths.extend(spec["source"]["path"].as_str().map(str::to_owned));
            paths.extend(spec["path"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(paths.len(), 2);
    for path in paths {
        assert!(root().join(path).join("kustomization.yaml").is_file());
    }
}

fn id(resource: &Value) -> String {
    format!("{} {}", resource["kind"], resource["metadata"]["name"])
}

#[test]
#[ignore = "needs kubectl"]
fn an_overlay_is_complete_and_renders_the_same_each_time() {
    for overlay in OVERLAYS {
        let folder = root().join("k8s/overlays").join(overlay);
        let rendered = render(&folder);
        assert!(rendered == render(&folder), "{overlay}");
        let mut ids = std::collections::BTreeSet::new();
        for resource in documents(&rendered) {
            assert!(ids.insert(id(&resource)), "{overlay}: {}", id(&resource));
            let namespaced = resource["metadata"]["namespace"].is_string();
            assert_eq!(
                namespaced,
                resource["kind"] != "Namespace",
                "{overlay}: {}",
                id(&resource)
            );
        }
    }
}

fn production(copy: &Path) -> Vec<Value> {
    documents(&render(&copy.join("k8s/overlays/production")))
}

#[test]
#[ignore = "needs kubectl"]
fn a_changed_setting_creates_a_new_configmap_and_leaves_the_old_one_to_pruning() {
    let copy = copy();
    let before = production(copy.path());
    edit(
        &copy.path().join("config/production.toml"),
        "[logs]",
        "# Another.\n[logs]",
    );
    let after = production(copy.path());
    let only_in = |these: &[Value], those: &[Value]| -> Vec<String> {
        let those: Vec<String> = those.iter().map(id).collect();
        these
            .iter()
            .map(id)
            .filter(|id| !those.contains(id))
            .collect()
    };
    let (gone, new) = (only_in(&before, &after), only_in(&after, &before));
    for names in [&gone, &new] {
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(
            names[0].starts_with("\"ConfigMap\" \"service-config-"),
            "{names:?}"
        );
    }
    let text = serde_json::to_string(&after).expect("JSON");
    let name = |id: &str| id.split('"').nth(3).expect("a name").to_owned();
    assert!(!text.contains(&name(&gone[0])));
    assert_eq!(
        text.matches(&name(&new[0])).count(),
        2,
        "its own name, and the Deployment's volume"
    );
}

#[test]
#[ignore = "needs kubectl"]
fn an_image_is_set_in_one_place() {
    let was = "    newName: registry.example.com/service\n    newTag: 0.1.0\n";
    let digest = format!("sha256:{}", "a".repeat(64));
    for (now, image) in [
        (
            "    newName: ghcr.io/acme/service\n    newTag: 1.4.0\n".to_owned(),
            "ghcr.io/acme/service:1.4.0".to_owned(),
        ),
        (
            format!("    newName: ghcr.io/acme/service\n    digest: {digest}\n"),
            format!("ghcr.io/acme/service@{digest}"),
        ),
    ] {
        let copy = copy();
        let mut before = production(copy.path());
        // As `kustomize edit set image` leaves it.
        let file = copy
            .path()
            .join("k8s/overlays/production/kustomization.yaml");
        edit(&file, was, &now);
        let after = production(copy.path());
        let deployment = before
            .iter_mut()
            .find(|resource| resource["kind"] == "Deployment")
            .expect("a Deployment");
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        assert_eq!(before, after);
    }
}
