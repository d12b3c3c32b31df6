//! A generated service in the images that it ships with.

use std::{fs, process::Command};

use e2e::{cargo, chassis, commit, copy, git, run_lines, said, succeed};
use tempfile::TempDir;

use crate::{
    docker::{Build, docker},
    projects::Shape,
    service::{CC, SLIM, STATIC, starts_and_shuts_down},
};

pub(crate) const GENERATED: Shape =
    Shape::of_one_package("orders", as_the_tool_makes_it).beside("axum-chassis");

fn as_the_tool_makes_it() -> TempDir {
    generate(&[])
}

/// Makes a service like `cargo chassis new`, without building it.
pub(crate) fn generate(define: &[&str]) -> TempDir {
    let place = tempfile::tempdir().expect("a folder");
    let mut new = chassis(place.path());
    new.args(["new", "orders"]);
    new.args(define.iter().flat_map(|define| ["-d", define]));
    said(new.env("CARGO", "true"), 0);
    let service = tempfile::tempdir().expect("a folder");
    copy(&place.path().join("orders"), service.path());
    // As the build would: takes out of Cargo.lock what the service does without.
    succeed(cargo(service.path()).args(["tree", "--quiet"]));
    service
}

#[test]
#[ignore = "needs Docker"]
fn a_generated_service_starts_and_shuts_down_in_each_image() {
    let service = GENERATED.project();
    for kind in [STATIC, CC, SLIM] {
        let build = Build::of(service.path(), kind.dockerfile).arg("VARIANT", kind.variant);
        let image = build.arg("REVISION", "1234567").image();
        starts_and_shuts_down(&image);
        kind.has_the_documented_size(&image);
    }
}

#[test]
#[ignore = "needs Docker"]
fn its_own_ci_builds_and_tries_both_images() {
    let service = GENERATED.project();
    let workflow = fs::read_to_string(service.path().join(".github/workflows/ci.yml"));
    let mut tried = 0;
    for line in run_lines(&workflow.expect("a workflow")) {
        let line = line.replace("${{ github.sha }}", "1234567");
        for dockerfile in ["Dockerfile", "Dockerfile.distroless"] {
            let line = line.replace("${{ matrix.dockerfile }}", dockerfile);
            assert!(!line.contains("${{"), "{line}");
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["docker", arguments @ ..] = &words[..] {
                succeed(docker().current_dir(service.path()).args(arguments));
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 4);
    succeed(docker().args(["rmi", "--force", "service"]));
}

/// The steps of the release workflow that need Docker but no registry; tests/chassis/workflows.rs runs the others.
#[test]
#[ignore = "needs Docker"]
fn the_image_of_a_release_is_built_and_accepts_its_settings() {
    const IMAGE: &str = "localhost/acme/orders";
    let service = GENERATED.project();
    git(service.path(), &["init", "--quiet"]);
    commit(service.path(), "a service");
    // The Docker that the other tests use.
    let tools = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(docker().get_program(), tools.path().join("docker"))
        .expect("a link");
    let path = std::env::var("PATH").expect("a path");

    let workflow = service.path().join(".github/workflows/release.yml");
    let workflow = fs::read_to_string(workflow).expect("a workflow");
    let workflow: serde_json::Value = serde_saphyr::from_str(&workflow).expect("YAML");
    let steps = workflow["jobs"]["image"]["steps"]
        .as_array()
        .expect("steps");
    let scripts = steps.iter().filter_map(|step| step["run"].as_str());
    let (pushes, scripts): (Vec<_>, Vec<_>) =
        scripts.partition(|script| script.starts_with("docker push"));
    assert_eq!((pushes.len(), scripts.len()), (1, 2), "{scripts:?}");
    for script in scripts {
        assert!(
            !script.contains("${{"),
            "an expression could be code: {script}"
        );
        let mut run = Command::new("bash");
        run.args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(service.path());
        run.env("PATH", format!("{}:{path}", tools.path().display()));
        run.env("DOCKER_BUILDKIT", "1");
        run.envs([
            ("IMAGE", IMAGE),
            ("VERSION", "v0.1.0"),
            ("ARCHITECTURE", "amd64"),
        ]);
        run.envs([
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/orders"),
            ("GITHUB_SHA", "1234567"),
        ]);
        succeed(&mut run);
    }
    succeed(docker().args(["rmi", "--force", &format!("{IMAGE}:v0.1.0-amd64")]));
}
