//! `cargo chassis add`: single assets, for a Cargo project that does not use the chassis. Whether the images
//! build, tests/images sees.

use std::fs;
use std::path::PathBuf;

use e2e::{contents, copy, edit, root, said};
use tempfile::TempDir;

use crate::tool::{chassis, read};

/// A copy of a project that was not generated.
fn project(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = root().join("tests/e2e/fixtures").join(name);
    copy(&fixture, folder.path());
    folder
}

#[test]
fn add_writes_only_new_files_and_prints_them_with_the_next_steps() {
    let project = project("plain-axum");
    fs::write(project.path().join("Dockerfile"), "FROM ours\n").expect("a file");
    let before = contents(project.path());

    let words = ["add", "images", "kubernetes", "compose", "ci"];
    let told = said(chassis(&project.path().join("src")).args(words), 0);
    let after = contents(project.path());
    for (path, was) in &before {
        assert!(after.get(path) == Some(was), "{}", path.display());
    }
    let new: Vec<&PathBuf> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .collect();
    assert!(new.len() > 50, "{new:?}");
    for path in new {
        let line = format!("Added {}\n", path.display());
        assert!(told.contains(&line), "{line}: {told}");
    }
    for line in [
        "plain-axum of package plain-axum",
        "on port 8080 (src/main.rs)",
        "Kept Dockerfile: it already exists; --force replaces it",
        "Next docker build --tag plain-axum .",
        "Next docker compose up --build",
        "plain-axum does not use axum-chassis",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    for name in ["ci.yml", "release.yml"] {
        let workflow = read(&project.path().join(".github/workflows").join(name));
        assert!(workflow.contains("docker build --file"));
        for ours in ["--check-config", "chassis"] {
            assert!(!workflow.contains(ours), "{workflow}");
        }
    }
    let distroless = read(&project.path().join("Dockerfile.distroless"));
    assert!(distroless.contains("\nARG PACKAGE=plain-axum BIN=plain-axum VARIANT=static\n"));
    assert!(!distroless.contains("HEALTHCHECK"), "{distroless}");

    let told = said(
        chassis(project.path()).args(["add", "images", "--force"]),
        0,
    );
    assert!(told.contains("Added Dockerfile\n"), "{told}");
    assert!(read(&project.path().join("Dockerfile")).starts_with("# An image with Debian's shell"));
    let same = [".dockerignore"].map(|file| read(&project.path().join(file)));
    assert_eq!(same, [read(&root().join(".dockerignore"))]);
}

#[test]
fn without_manifests_compose_has_its_own_rules_and_ci_checks_nothing() {
    let project = project("plain-axum");
    let told = said(chassis(project.path()).args(["add", "compose", "ci"]), 0);
    for file in [
        "compose/alerts.yaml",
        "compose/grafana/dashboard.json",
        "docs/runbooks/ServiceGone.md",
        ".github/workflows/release.yml",
    ] {
        assert!(told.contains(&format!("Added {file}\n")), "{file}: {told}");
    }
    for (path, (bytes, _)) in contents(project.path()) {
        let text = String::from_utf8_lossy(&bytes);
        for gone in ["k8s", "kubectl", "chassis check"] {
            assert!(!text.contains(gone), "{}: {gone}", path.display());
        }
    }
}

#[test]
fn package_program_and_port_are_read_from_the_project() {
    let project = project("workspace");
    let source = project.path().join("greeter/src/main.rs");
    let text = read(&source) + "const ADDRESS: &str = \"0.0.0.0:3000\";\n";
    fs::write(&source, text).expect("a file");

    // Within a package, it is that one's program; at the top somebody has to say which.
    let greeter = project.path().join("greeter");
    let told = said(chassis(&greeter).args(["add", "images", "kubernetes"]), 0);
    for line in [
        "greeter of package greeter",
        "on port 3000 (greeter/src/main.rs)",
        "Next docker build --tag greeter .",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let dockerfile = read(&project.path().join("Dockerfile"));
    assert!(dockerfile.contains("\nARG PACKAGE=greeter BIN=greeter VARIANT=cc\n"));
    assert!(dockerfile.contains("\nEXPOSE 3000 "));
    let deployment = read(&project.path().join("k8s/base/workload/deployment.yaml"));
    assert!(deployment.contains("containerPort: 3000"), "{deployment}");

    let words = [
        "add",
        "kubernetes",
        "--force",
        "-d",
        "package=counter",
        "-d",
        "port=9000",
    ];
    let told = said(chassis(project.path()).args(words), 0);
    assert!(told.contains("counter of package counter"), "{told}");
    assert!(told.contains("on port 9000 (-d port)"), "{told}");
    let deployment = read(&project.path().join("k8s/base/workload/deployment.yaml"));
    assert!(deployment.contains("containerPort: 9000"), "{deployment}");
}

#[test]
fn add_restores_missing_files_of_a_service_on_the_chassis() {
    let place = tempfile::tempdir().expect("a folder");
    said(
        chassis(place.path())
            .args(["new", "orders"])
            .env("CARGO", "true"),
        0,
    );
    let service = place.path().join("orders");
    for folder in ["k8s", "scripts", "compose"] {
        fs::remove_dir_all(service.join(folder)).expect("a folder");
    }
    edit(
        &service.join("config/default.toml"),
        "\n",
        "\n[server]\nport = 8181\n",
    );
    let told = said(
        chassis(&service).args(["add", "kubernetes", "compose", "images"]),
        0,
    );
    assert!(
        told.contains("on port 8181 (config/default.toml)"),
        "{told}"
    );
    assert!(told.contains("Next cargo chassis check"), "{told}");
    assert!(told.contains("Next docker build --tag orders ."), "{told}");
    let deployment = read(&service.join("k8s/base/workload/deployment.yaml"));
    assert!(deployment.contains("containerPort: 8181"), "{deployment}");
}

#[test]
fn nothing_is_written_through_a_link_out_of_the_project() {
    let project = project("plain-axum");
    let outside = tempfile::tempdir().expect("a folder");
    let link = |name: &str, target: PathBuf| {
        let link = project.path().join(name);
        std::os::unix::fs::symlink(target, link).expect("a link");
    };
    link(".github", outside.path().to_owned());
    let told = said(chassis(project.path()).args(["add", "ci"]), 2);
    assert!(told.contains(".github is a symbolic link"), "{told}");
    // --force replaces files, and not what a link leads to.
    fs::write(outside.path().join("kept"), "kept").expect("a file");
    link("Dockerfile", outside.path().join("kept"));
    let told = said(
        chassis(project.path()).args(["add", "images", "--force"]),
        2,
    );
    assert!(told.contains("Dockerfile is a symbolic link"), "{told}");
    let left: Vec<_> = contents(outside.path()).into_keys().collect();
    assert_eq!(left, [PathBuf::from("kept")]);
    assert_eq!(read(&outside.path().join("kept")), "kept");
}
