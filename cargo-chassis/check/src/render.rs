//! Renders overlays as kubectl does, into resources with their source files.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

const ORIGIN: &str = "config.kubernetes.io/origin";

/// A rendered overlay.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// The path of its folder, relative to the manifests.
    pub(crate) name: String,
    pub(crate) resources: Vec<Resource>,
}

/// One resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// The file that it was read from, or the kustomization that generates it.
    pub(crate) file: String,
    pub(crate) value: Value,
}

/// The overlays below `manifests`: those in `only`, or else `base` and each folder in `overlays`.
pub(crate) fn names(manifests: &Path, only: &[String]) -> anyhow::Result<Vec<String>> {
    if !only.is_empty() {
        return Ok(only.to_vec());
    }
    let mut names = Vec::new();
    if manifests.join("base/kustomization.yaml").is_file() {
        names.push("base".to_owned());
    }
    if let Ok(entries) = manifests.join("overlays").read_dir() {
        for entry in entries {
            let entry = entry?;
            if entry.path().join("kustomization.yaml").is_file() {
                names.push(format!("overlays/{}", entry.file_name().display()));
            }
        }
    }
    ensure!(
        !names.is_empty(),
        "{} has neither base nor overlays with a kustomization.yaml",
        manifests.display()
    );
    names.sort();
    Ok(names)
}

/// The files of the `secret` component, by the Secret's name. They stand in for a Secret that is not created from the
/// manifests.
pub(crate) fn stand_ins(
    manifests: &Path,
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    let folder = manifests.join("components/secret");
    let file = folder.join("kustomization.yaml");
    let mut secrets = BTreeMap::new();
    if !file.is_file() {
        return Ok(secrets);
    }
    let text = std::fs::read(&file)?;
    let component: Value = serde_saphyr::from_slice(&text)
        .with_context(|| format!("{} is not YAML", file.display()))?;
    for generator in component["secretGenerator"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let files = generator["files"].as_array().into_iter().flatten();
        let mut contents = BTreeMap::new();
        for listed in files.filter_map(Value::as_str) {
            let (key, path) = listed.split_once('=').unwrap_or((listed, listed));
            let path = folder.join(path);
            let mut content =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // The service rejects this value outside of `dev`. The real Secret has another value.
            if content.trim_ascii() == b"for-development-only" {
                content = b"a-token-made-elsewhere".to_vec();
            }
            contents.insert(key.to_owned(), content);
        }
        let name = generator["name"].as_str().unwrap_or_default();
        secrets.insert(name.to_owned(), contents);
    }
    Ok(secrets)
}

/// Renders the overlays.
pub(crate) fn overlays(manifests: &Path, only: &[String]) -> anyhow::Result<Vec<Overlay>> {
    names(manifests, only)?
        .into_iter()
        .map(|name| overlay(manifests, name))
        .collect()
}

/// Renders one folder below the manifests.
pub(crate) fn overlay(manifests: &Path, name: String) -> anyhow::Result<Overlay> {
    let resources = render(manifests, &name)?;
    Ok(Overlay { name, resources })
}

fn render(manifests: &Path, name: &str) -> anyhow::Result<Vec<Resource>> {
    let manifests = manifests
        .canonicalize()
        .with_context(|| format!("cannot find {}", manifests.display()))?;
    let top = tempfile::tempdir()?;
    let folder = top.path().canonicalize()?;
    // kustomize annotates each resource with its file if the topmost kustomization requests it.
    let wrapper = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources: [{:?}]\nbuildMetadata: [originAnnotations]\n",
        relative(&folder, &manifests.join(name))
    );
    std::fs::write(folder.join("kustomization.yaml"), wrapper)?;
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(&folder)
        .output()
        .context("cannot run kubectl, which renders the overlays")?;
    if !output.status.success() {
        bail!(
            "{name} does not render:\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let home = manifests.parent().unwrap_or(&manifests);
    let mut resources = Vec::new();
    let documents: Vec<Value> = serde_saphyr::from_slice_multiple(&output.stdout)
        .with_context(|| format!("{name} renders to something that is not YAML"))?;
    for mut value in documents {
        if value.is_null() {
            continue;
        }
        let file = match origin(&mut value) {
            Some(path) => normal(&folder.join(path)),
            None => manifests.join(name),
        };
        let file = file.strip_prefix(home).unwrap_or(&file);
        resources.push(Resource {
            file: file.display().to_string(),
            value,
        });
    }
    Ok(resources)
}

/// Removes kustomize's annotation from the resource, and returns the file that it names.
fn origin(value: &mut Value) -> Option<String> {
    let annotations = value
        .pointer_mut("/metadata/annotations")?
        .as_object_mut()?;
    let note = annotations.remove(ORIGIN)?;
    let note: Value = serde_saphyr::from_str(note.as_str()?).ok()?;
    let path = note.get("path").or_else(|| note.get("configuredIn"))?;
    path.as_str().map(str::to_owned)
}

fn relative(from: &Path, to: &Path) -> PathBuf {
    let up = from
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    let mut path: PathBuf = up.map(|_| "..").collect();
    path.extend(
        to.components()
            .filter(|part| matches!(part, Component::Normal(_))),
    );
    path
}

/// Resolves each `..` by the path's text alone. This is safe, because the path was canonical before kustomize appended
/// to it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

// === impl Resource ===

impl Resource {
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The value at a JSON pointer; null if there is none.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer, if there is one.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The list at a JSON pointer, or an empty one.
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }
}

// === impl Overlay ===

impl Overlay {
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources
            .iter()
            .filter(move |resource| resource.kind() == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Resource> {
        self.resources
            .iter()
            .find(|resource| resource.kind() == kind && resource.name() == name)
    }
}
