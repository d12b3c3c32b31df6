//! Packs the archive that is embedded in the tool: the template and the crates of this checkout.
//!
//! A published package has no checkout around it. There the tool uses the release of its own version.

// This script uses only the part that writes archives; the tool reads them.
#[allow(dead_code, unreachable_pub)]
#[path = "src/archive.rs"]
mod archive;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use archive::Archive;
use toml_edit::{DocumentMut, Item, value};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let checkout = here.join("..");
    let current = out.join("current.tar");
    if checkout.join("template/cargo-generate.toml").is_file() {
        let archive = pack(&checkout)?;
        fs::write(&current, archive.write(Vec::new())?)?;
    } else {
        fs::write(&current, "")?;
    }
    Ok(())
}

/// The other crates, which lie beside `axum-chassis` in a service's `vendor/`.
const OTHERS: [&str; 8] = [
    "axum-chassis-auth",
    "axum-chassis-logs",
    "axum-chassis-otlp",
    "axum-chassis-redis",
    "axum-chassis-server",
    "axum-chassis-settings",
    "axum-chassis-sqlx",
    "axum-chassis-testing",
];

/// `template/`, `crate/`, a folder for each other crate, and the `Cargo.lock` that both were tested with.
fn pack(checkout: &Path) -> Result<Archive> {
    let mut archive = Archive::default();
    let others = OTHERS.map(|name| format!("{name}/src"));
    let others = others.iter().map(String::as_str);
    for folder in ["template", "src", "examples"].into_iter().chain(others) {
        println!(
            "cargo::rerun-if-changed={}",
            checkout.join(folder).display()
        );
    }
    archive.add(&checkout.join("template"), "template")?;
    // As in cargo's own package, examples that are packages of their own are left out.
    for entry in fs::read_dir(checkout.join("examples"))? {
        let example = entry?;
        if !example.path().join("Cargo.toml").exists() {
            let name = example.file_name();
            let to = format!("crate/examples/{}", name.to_string_lossy());
            archive.add(&example.path(), &to)?;
        }
    }
    for part in [
        "src",
        "build.rs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ] {
        archive.add(&checkout.join(part), &format!("crate/{part}"))?;
    }
    for file in [
        "build.rs",
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", checkout.join(file).display());
    }
    let manifest = fs::read_to_string(checkout.join("Cargo.toml"))?;
    let workspace = manifest.parse::<DocumentMut>()?["workspace"].clone();
    let alone = standing_alone(&manifest, &workspace)?;
    archive.insert("crate/Cargo.toml", alone.into_bytes());
    for name in OTHERS {
        for part in ["src", "README.md"] {
            archive.add(&checkout.join(name).join(part), &format!("{name}/{part}"))?;
        }
        let file = checkout.join(name).join("Cargo.toml");
        println!("cargo::rerun-if-changed={}", file.display());
        let manifest = fs::read_to_string(file)?;
        let manifest = standing_alone(&manifest, &workspace)?;
        archive.insert(&format!("{name}/Cargo.toml"), manifest.into_bytes());
    }
    archive.add(&checkout.join("Cargo.lock"), "Cargo.lock")?;
    Ok(archive)
}

/// The crate's manifest as `cargo package` writes it: with the values that it inherits from the workspace, and without
/// the workspace.
fn standing_alone(manifest: &str, workspace: &Item) -> Result<String> {
    let mut manifest: DocumentMut = manifest.parse()?;
    // The program that uses the crate chooses the profile, and tests are not shipped.
    for table in ["workspace", "profile", "test"] {
        manifest.remove(table);
    }
    let package = manifest["package"].as_table_mut().ok_or("a package")?;
    for (key, value) in package.iter_mut() {
        if value.get("workspace").is_some() {
            let inherited = workspace["package"]
                .get(key.get())
                .ok_or("an inherited key")?;
            *value = inherited.clone();
        }
    }
    package.remove("include");
    if let Some(tests) = manifest["dev-dependencies"].as_table_mut() {
        // Only tests need these: a crate itself with another feature, the test kit, and `stores`, which is not shipped.
        for name in [
            "axum-chassis",
            "axum-chassis-auth",
            "axum-chassis-testing",
            "stores",
        ] {
            tests.remove(name);
        }
    }
    if let Some(dependencies) = manifest["dependencies"].as_table_mut() {
        for (name, dependency) in dependencies.iter_mut() {
            if dependency.get("workspace").is_some() {
                let own = dependency.clone();
                *dependency = workspace["dependencies"][name.get()].clone();
                dependency["path"] = value(format!("../{}", name.get()));
                // Such as the features that only this crate needs.
                let own = own.as_table_like().ok_or("a table")?;
                for (key, item) in own.iter().filter(|(key, _)| *key != "workspace") {
                    dependency[key] = item.clone();
                }
                if let Some(dependency) = dependency.as_inline_table_mut() {
                    dependency.fmt();
                }
            }
        }
    }
    manifest["lints"] = workspace["lints"].clone();
    Ok(manifest.to_string())
}
