//! `cargo chassis add images kubernetes` in published programs of others.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use e2e::{cargo, chassis, contents, copy, said, succeed};
use tempfile::TempDir;

use crate::docker::{Build, Image};

/// A published program, unpacked.
fn published(name: &str, version: &str) -> TempDir {
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

/// The image that the program's own copies of the files make, with no argument but the profile.
fn image(program: &Path, dockerfile: &str) -> Image {
    Build::of(program, dockerfile).unoptimized().image()
}

/// Adds to a program, and looks at what there was, at the image, and at what `check` makes of it.
fn gets_images_and_manifests(name: &str, version: &str, dockerfiles: &[&str]) {
    let program = published(name, version);
    let before = contents(program.path());
    said(
        chassis(program.path()).args(["add", "images", "kubernetes"]),
        0,
    );
    let after = contents(program.path());
    for (path, was) in &before {
        assert!(after.get(path) == Some(was), "{name}: {}", path.display());
    }

    for dockerfile in dockerfiles {
        let image = image(program.path(), dockerfile);
        let printed = image.output("/app/service", &["--version"]);
        assert!(printed.contains(version), "{name}: {printed}");
        if *dockerfile != "Dockerfile.distroless" {
            continue;
        }
        // Static, so it runs here as well.
        let binary = program.path().join("binary");
        fs::write(&binary, image.binary()).expect("a file");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("a file");
        let found = said(
            chassis(program.path())
                .args(["check", "--binary"])
                .arg(&binary),
            1,
        );
        for line in [
            "does not use axum-chassis",
            "k8s/base/workload/deployment.yaml: spec.template.spec.containers[app].livenessProbe",
            "remedy: name a port and a path that return 200",
            "k8s/components/alerts/alerts.yaml: queries",
        ] {
            assert!(found.contains(line), "{name}: {line}: {found}");
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_published_file_server_gets_images_and_manifests() {
    let both = ["Dockerfile", "Dockerfile.distroless"];
    gets_images_and_manifests("basic-http-server", "0.11.0", &both);
}

#[test]
#[ignore = "needs Docker"]
fn a_published_server_of_pages_gets_images_and_manifests() {
    gets_images_and_manifests("microserver", "0.2.1", &["Dockerfile.distroless"]);
}

#[test]
#[ignore = "needs Docker"]
fn a_published_tunnel_keeps_its_own_dockerfile_and_gets_the_other() {
    gets_images_and_manifests("bore-cli", "0.6.0", &["Dockerfile.distroless"]);
}

#[test]
#[ignore = "needs Docker"]
fn a_published_server_for_tests_gets_images_and_manifests() {
    gets_images_and_manifests("dummyhttp", "1.1.1", &["Dockerfile.distroless"]);
}
