//! `cargo chassis vendor`: copies the crate into the service's own repository, which then builds anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use toml_edit::{DocumentMut, Item, Value, value};

use crate::answers::{self, VENDORED};
use crate::archive::{Archive, refuse_links};
use crate::embedded::{self, CRATES};
use crate::status::status;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let folder = service()?;
    for file in ["Cargo.toml", answers::FILE] {
        refuse_links(&folder, Path::new(file))?;
    }
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file)?;
    let mut manifest: DocumentMut = text
        .parse()
        .with_context(|| format!("cannot read {}", file.display()))?;
    let path = manifest["dependencies"]["axum-chassis"].get("path");
    if path.and_then(Item::as_str) == Some(VENDORED) && folder.join(VENDORED).exists() {
        return add_missing(&manifest, &folder);
    }
    // Change both sections: a service's dev-dependencies have crates of their own, and may name others again with more
    // features. Cargo accepts only one source for a crate.
    for section in ["dependencies", "dev-dependencies"] {
        let section = manifest.get_mut(section).and_then(Item::as_table_mut);
        let Some(section) = section else { continue };
        for (name, _) in CRATES {
            if let Some(dependency) = section.get_mut(name) {
                point_to_folder(dependency, name);
            }
        }
    }
    // Remove the comment about a folder on this machine, which does not apply any more.
    if let Some(table) = manifest["dependencies"].as_table_mut()
        && let Some(mut key) = table.key_mut("axum-chassis")
    {
        key.leaf_decor_mut().clear();
    }
    let outer = exclude(&folder, &mut manifest)?;

    write(&embedded::current()?, &folder)?;
    fs::write(&file, manifest.to_string())?;
    if let Some((file, manifest)) = outer {
        status(
            "Changed",
            format_args!(
                "{}: the folder is excluded from the workspace",
                file.display()
            ),
        );
        fs::write(file, manifest.to_string())?;
    }
    answers::set_source(&folder, "vendored")?;
    status(
        "Vendored",
        format_args!(
            "axum-chassis {} in {}",
            embedded::VERSION,
            folder.join(VENDORED).display()
        ),
    );
    status(
        "Next",
        "run cargo build, which updates Cargo.lock, and commit all files",
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes the crates that a vendored service depends on and that are missing or of another version, such as one that was added
/// to its manifest.
fn add_missing(manifest: &DocumentMut, folder: &Path) -> anyhow::Result<ExitCode> {
    let version = |name: &str| -> Option<String> {
        let file = folder.join("vendor").join(name).join("Cargo.toml");
        let manifest: DocumentMut = fs::read_to_string(file).ok()?.parse().ok()?;
        Some(manifest["package"].get("version")?.as_str()?.to_owned())
    };
    let current = embedded::current()?;
    let chassis = version("axum-chassis");
    let missing: Vec<_> = wanted(manifest, &current)?
        .into_iter()
        .filter(|(name, _)| version(name) != chassis)
        .collect();
    if missing.is_empty() {
        status(
            "Unchanged",
            format_args!("{VENDORED} already exists; `cargo chassis update` updates it"),
        );
        return Ok(ExitCode::SUCCESS);
    }
    if chassis.as_deref() != Some(embedded::VERSION) {
        bail!(
            "{VENDORED} is version {}, and this tool has {}; run `cargo chassis update` first",
            chassis.unwrap_or_default(),
            embedded::VERSION
        );
    }
    for (name, folder_in_archive) in missing {
        write_crate(&current, folder, name, folder_in_archive)?;
        status(
            "Vendored",
            format_args!("{name} {} in vendor/{name}", embedded::VERSION),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The crates that the service, its tests or `axum-chassis` depend on, and the folders that have them. The archive of the first release
/// has no crates.
fn wanted(
    manifest: &DocumentMut,
    current: &Archive,
) -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    let chassis = current.get("crate/Cargo.toml").unwrap_or_default();
    let chassis: DocumentMut = String::from_utf8_lossy(chassis).parse()?;
    let is_wanted = |(name, folder): &(&str, &str)| {
        let mut dependencies = [
            manifest.get("dependencies"),
            manifest.get("dev-dependencies"),
            chassis.get("dependencies"),
        ]
        .into_iter();
        dependencies.any(|all| all.is_some_and(|all| all.get(name).is_some()))
            && current.get(&format!("{folder}/Cargo.toml")).is_some()
    };
    Ok(CRATES.into_iter().filter(is_wanted).collect())
}

/// Writes the crates that the service, its tests or `axum-chassis` depend on into the service's folder.
pub(crate) fn write(current: &Archive, service: &Path) -> anyhow::Result<()> {
    let manifest: DocumentMut = fs::read_to_string(service.join("Cargo.toml"))?.parse()?;
    for (name, folder_in_archive) in wanted(&manifest, current)? {
        write_crate(current, service, name, folder_in_archive)?;
    }
    Ok(())
}

/// Writes a crate, without its tests and formatting settings.
fn write_crate(
    current: &Archive,
    service: &Path,
    name: &str,
    folder_in_archive: &str,
) -> anyhow::Result<()> {
    refuse_links(service, &Path::new("vendor").join(name))?;
    let folder = service.join("vendor").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    current
        .unpack(folder_in_archive, &folder)
        .with_context(|| format!("cannot write {}", folder.display()))?;
    // Without this file, `cargo fmt --all` would format path dependencies too.
    fs::write(
        folder.join("rustfmt.toml"),
        "disable_all_formatting = true\n",
    )?;
    Ok(())
}

/// The nearest folder from here upwards whose package depends on the chassis.
fn service() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    for folder in here.ancestors() {
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else {
            continue;
        };
        if answers::dependency(&manifest).is_some() {
            return Ok(folder.to_owned());
        }
    }
    bail!(
        "no axum-chassis service found: no Cargo.toml in {} or its parent folders depends on axum-chassis",
        here.display()
    );
}

/// Replaces the source of a dependency (path, git, version, ...) with the vendored folder, and keeps features and other
/// keys.
fn point_to_folder(dependency: &mut Item, name: &str) {
    const PLACES: [&str; 7] = ["version", "git", "branch", "tag", "rev", "registry", "path"];
    let folder = format!("vendor/{name}");
    if let Item::Table(table) = dependency {
        for key in PLACES {
            table.remove(key);
        }
        table.insert("path", value(folder));
        return;
    }
    // Write the dependency as the template does, so that an update recognizes the line.
    let mut table = toml_edit::InlineTable::new();
    table.insert("path", Value::from(folder));
    for (key, value) in dependency.as_inline_table().into_iter().flatten() {
        if !PLACES.contains(&key) {
            table.insert(key, value.clone());
        }
    }
    table.fmt();
    *dependency = value(table);
}

/// Excludes the vendored crate from the workspace in this manifest or, without one, from the workspace in a folder
/// above. In the latter case, returns the other manifest.
fn exclude(
    folder: &Path,
    manifest: &mut DocumentMut,
) -> anyhow::Result<Option<(PathBuf, DocumentMut)>> {
    if let Some(workspace) = manifest.get_mut("workspace") {
        add_to_list(&mut workspace["exclude"], "vendor");
        return Ok(None);
    }
    for outer in folder.ancestors().skip(1) {
        let file = outer.join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let mut around: DocumentMut = text
            .parse()
            .with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(workspace) = around.get_mut("workspace") {
            let vendor = folder.strip_prefix(outer)?.join("vendor");
            add_to_list(&mut workspace["exclude"], &vendor.display().to_string());
            return Ok(Some((file, around)));
        }
    }
    // A package without a workspace is its own workspace, and every path dependency below it counts as a member.
    let mut workspace = toml_edit::Table::new();
    add_to_list(workspace.entry("exclude").or_insert(Item::None), "vendor");
    manifest.insert("workspace", Item::Table(workspace));
    Ok(None)
}

fn add_to_list(list: &mut Item, entry: &str) {
    if list.as_array().is_none() {
        *list = value(toml_edit::Array::new());
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|present| present.as_str() == Some(entry))
    {
        list.push(entry);
    }
}
