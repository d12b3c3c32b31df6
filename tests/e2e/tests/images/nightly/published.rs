//! `cargo chassis add images kubernetes` in published programs of others.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use e2e::{chassis, contents, published, said};

use crate::docker::{Build, Image};

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
