//! The next release: `cargo xtask release`, a newer version, and an update to it.

use std::fs;
use std::path::Path;
use std::process::Command;

use cargo_chassis::embedded::VERSION;
use e2e::{built, cargo, clone_of_this_checkout, commit, edit, git, said, succeed};

use crate::generated_service::Generated;
use crate::tool::{TARGET, chassis, command, read};

const NEXT: &str = "99.0.0";

/// Cargo in a clone of this checkout, whose dependencies it has compiled: before 1.91 it does so once more.
///
/// It takes packages at the same place in two workspaces for the same, unless they are compiled in another way.
fn apart(clone: &Path) -> Command {
    let mut cargo = cargo(clone);
    cargo.args(["--config", "profile.dev.overflow-checks=false"]);
    cargo.args(["--config", "profile.dev.package.'*'.overflow-checks=true"]);
    cargo.env("CARGO_BUILD_BUILD_DIR", &*TARGET);
    cargo.env("CARGO_TARGET_DIR", TARGET.join("tmp/next"));
    cargo
}

#[test]
fn a_vendored_service_gets_the_crate_of_the_next_release_with_its_template() {
    let place = tempfile::tempdir().expect("a folder");
    said(
        chassis(place.path())
            .args(["new", "vendored-orders", "-d", "chassis=vendored"])
            .args(["-d", "deploy=docker"])
            .env("CARGO", "true"),
        0,
    );
    let service = place.path().join("vendored-orders");
    commit(&service, "generated");

    // As CONTRIBUTING.md says.
    let checkout = clone_of_this_checkout(place.path());
    let xtask = |command: &str| succeed(apart(&checkout).arg("xtask").args(command.split(' ')));
    // Released already, perhaps, and with a crate that has changed since.
    xtask("release --replace");
    // The workspace's own, and what its other crates ask for.
    for before in [
        "version = \"",
        "axum-chassis = { path = \".\", version = \"",
        "axum-chassis-logs = { path = \"axum-chassis-logs\", version = \"",
        "axum-chassis-server = { path = \"axum-chassis-server\", version = \"=",
        "axum-chassis-settings = { path = \"axum-chassis-settings\", version = \"",
        "axum-chassis-testing = { path = \"axum-chassis-testing\", version = \"",
        "cargo-chassis-check = { path = \"cargo-chassis/check\", version = \"",
    ] {
        let version = |version: &str| format!("{before}{version}\"");
        edit(
            &checkout.join("Cargo.toml"),
            &version(VERSION),
            &version(NEXT),
        );
    }
    edit(
        &checkout.join("template/src/main.rs"),
        "fn main()",
        "// The next template.\nfn main()",
    );
    xtask("sync");
    edit(
        &checkout.join("src/lib.rs"),
        "mod cli;",
        "/// The next one.\npub const NEXT: &str = \"next\";\n\nmod cli;",
    );
    // One that an answer moves, and one that it takes away.
    for file in ["alerts/alerts.yaml", "alerts/kustomization.yaml"] {
        let file = checkout.join("template/k8s/components").join(file);
        let text = read(&file);
        fs::write(file, format!("# The next one.\n{text}")).expect("a file");
    }
    let tool = built(apart(&checkout).arg("build-tool"));

    let mut next = Command::new(&tool);
    next.current_dir(&service);
    let merged = said(command(next).arg("update"), 0);
    for line in [
        "Changed .chassis.toml",
        "Changed compose/alerts.yaml",
        "Changed src/main.rs",
        "Changed vendor/axum-chassis/Cargo.toml",
        "Changed vendor/axum-chassis/src/lib.rs",
    ] {
        assert!(merged.contains(line), "{line}: {merged}");
    }
    let manifest = read(&service.join("vendor/axum-chassis/Cargo.toml"));
    assert!(manifest.contains(NEXT), "{manifest}");
    // It was made for Docker, and stays so.
    assert!(!merged.contains("k8s"), "{merged}");
    assert!(!service.join("k8s").exists());
    // The older tool reports that it does not know this version.
    let older = said(chassis(&service).args(["update", "--check"]), 2);
    assert!(older.contains(&format!("unknown template version {NEXT}")));

    git(&service, &["commit", "--quiet", "--message=updated"]);
    let main = read(&service.join("src/main.rs"));
    let uses_it = main.replace(
        "// The next template.",
        "#[allow(dead_code)]\nconst NEXT: &str = axum_chassis::NEXT;",
    );
    fs::write(service.join("src/main.rs"), uses_it).expect("a file");
    Generated::at(service).builds();
}
