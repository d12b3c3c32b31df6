//! Published programs of others, from crates.io.

use std::path::PathBuf;
use std::{env, fs};

use tempfile::TempDir;

use crate::{cargo, copy, succeed};

/// A published program, unpacked.
///
/// # Panics
/// If it cannot be fetched.
pub fn published(name: &str, version: &str) -> TempDir {
    let reader = tempfile::tempdir().expect("a folder");
    let manifest = format!(
        "[package]\nname = \"reader\"\nedition = \"2024\"\n[dependencies]\n{name} = \"={version}\"\n"
    );
    fs::create_dir(reader.path().join("src")).expect("a folder");
    fs::write(reader.path().join("src/lib.rs"), "").expect("a file");
    fs::write(reader.path().join("Cargo.toml"), manifest).expect("a manifest");
    succeed(cargo(reader.path()).arg("fetch"));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registries = home.expect("cargo's folder").join("registry/src");
    let folder = fs::read_dir(registries)
        .expect("sources of registries")
        .map(|registry| registry.expect("a folder").path())
        .map(|registry| registry.join(format!("{name}-{version}")))
        .find(|folder| folder.is_dir());

    let program = tempfile::tempdir().expect("a folder");
    copy(&folder.expect("what was fetched"), program.path());
    for cargos_own in [".cargo-ok", ".cargo_vcs_info.json"] {
        let _ = fs::remove_file(program.path().join(cargos_own));
    }
    program
}
