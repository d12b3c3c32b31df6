//! A generated service in the images that it ships with.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

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

/// Everything that the release workflow runs itself, in its order: on GitHub's machines it would also push, and have
/// others sign. `kustomize` is not available here: a script in its place makes the one edit that it makes.
#[test]
#[ignore = "needs Docker, kubectl and check-jsonschema"]
fn a_tag_becomes_an_image_that_the_overlay_of_production_names() {
    const IMAGE: &str = "localhost/acme/orders";
    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let service = GENERATED.project();
    let workflows = service.path().join(".github/workflows");
    succeed(
        Command::new("check-jsonschema")
            .args(["--builtin-schema", "vendor.github-workflows"])
            .args(["ci.yml", "release.yml"].map(|file| workflows.join(file))),
    );
    let origin = tempfile::tempdir().expect("a folder");
    git(
        origin.path(),
        &["init", "--quiet", "--bare", "--initial-branch=main"],
    );
    let overlay = service.path().join("k8s/overlays/production");
    let url = origin.path().display().to_string();
    git(
        service.path(),
        &["init", "--quiet", "--initial-branch=main"],
    );
    git(service.path(), &["checkout", "--quiet", "-B", "main"]);
    git(service.path(), &["remote", "add", "origin", &url]);
    commit(service.path(), "a service");
    git(
        service.path(),
        &["push", "--quiet", "--set-upstream", "origin", "main"],
    );

    let tools = tempfile::tempdir().expect("a folder");
    let kustomize = tools.path().join("kustomize");
    let edit = "#!/bin/sh\nto=${4#*=}\n\
        sed -i \"s|newName: .*|newName: ${to%@*}|; s|newTag: .*|digest: ${to#*@}|\" kustomization.yaml\n";
    fs::write(&kustomize, edit).expect("a script");
    fs::set_permissions(&kustomize, fs::Permissions::from_mode(0o755)).expect("a script");
    // The Docker that the other tests use.
    std::os::unix::fs::symlink(docker().get_program(), tools.path().join("docker"))
        .expect("a link");
    let path = std::env::var("PATH").expect("a path");
    let ci = fs::read_to_string(workflows.join("ci.yml")).expect("a file");

    let workflow = fs::read_to_string(workflows.join("release.yml"));
    let workflow: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&workflow.expect("a workflow")).expect("YAML");
    let jobs = workflow["jobs"].as_mapping().expect("jobs").values();
    let steps = jobs.flat_map(|job| job["steps"].as_sequence().expect("steps"));
    let (mut ran, mut left) = (0, Vec::new());
    for step in steps.filter(|step| step["run"].is_string()) {
        let line = step["run"].as_str().expect("a command");
        assert!(!line.contains("${{"), "an expression could be code: {line}");
        let needs_github = ["docker push", "docker buildx", "cosign"];
        // The tool's tests run the commands that ci.yml has, too.
        let tried = ci.contains(&format!("- run: {line}\n"));
        if tried || needs_github.iter().any(|tool| line.starts_with(tool)) {
            left.push(line);
            continue;
        }
        let folder = step["working-directory"].as_str().unwrap_or(".");
        let mut run = Command::new("bash");
        run.args(["-e", "-o", "pipefail", "-c", line])
            .current_dir(service.path().join(folder));
        run.env("PATH", format!("{}:{path}", tools.path().display()));
        run.env("DOCKER_BUILDKIT", "1");
        run.envs([
            ("IMAGE", IMAGE),
            ("VERSION", "v0.1.0"),
            ("TAG", "v0.1.0-amd64"),
        ]);
        run.envs([("DIGEST", DIGEST), ("GITHUB_SHA", "1234567")]);
        run.envs([
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/orders"),
        ]);
        succeed(&mut run);
        ran += 1;
    }
    assert_eq!((ran, left.len()), (5, 5), "{left:?}");

    git(service.path(), &["fetch", "--quiet"]);
    git(
        service.path(),
        &["diff", "--exit-code", "main", "origin/main"],
    );
    let rendered = Command::new("kubectl")
        .arg("kustomize")
        .arg(&overlay)
        .output();
    let rendered = String::from_utf8(rendered.expect("kubectl").stdout).expect("YAML");
    assert!(
        rendered.contains(&format!("image: {IMAGE}@{DIGEST}")),
        "{rendered}"
    );
    succeed(docker().args(["rmi", "--force", &format!("{IMAGE}:v0.1.0-amd64")]));
}
