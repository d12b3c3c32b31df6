//! A generated service in the images that it ships with.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use e2e::{cargo, chassis, clone_of_this_checkout, copy, run_lines, said, succeed, wait_for};
use tempfile::TempDir;

use crate::{
    docker::{Build, docker},
    projects::Shape,
    service::{CC, SLIM, STATIC, lives_and_leaves},
};

pub(crate) const GENERATED: Shape =
    Shape::of_one_package("orders", as_the_tool_makes_it).beside("axum-chassis");

fn as_the_tool_makes_it() -> TempDir {
    generate(&[])
}

/// What `cargo chassis new` makes, all but the build.
fn generate(define: &[&str]) -> TempDir {
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
fn a_generated_service_lives_and_leaves_in_each_image() {
    let service = GENERATED.project();
    for kind in [STATIC, CC, SLIM] {
        // Its own copies of the files.
        let dockerfile = service.path().join(kind.dockerfile).display().to_string();
        let build = Build::of(service.path(), &dockerfile).arg("VARIANT", kind.variant);
        let image = build.arg("REVISION", "1234567").image();
        lives_and_leaves(&image);
        kind.is_not_exceeded_by(&image);
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

/// A repository that builds can clone, until it is dropped.
struct Repository {
    server: Child,
    url: String,
    _place: TempDir,
}

impl Repository {
    fn of_this_checkout() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        clone_of_this_checkout(place.path());
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let server = Command::new("git")
            .args([
                "daemon",
                "--export-all",
                "--listen=127.0.0.1",
                "--reuseaddr",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", place.path().display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("git's server");
        Self {
            server,
            url: format!("git://127.0.0.1:{port}/axum-chassis"),
            _place: place,
        }
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_service_with_its_chassis_from_git_builds_unedited() {
    let repository = Repository::of_this_checkout();
    wait_for("git's server", || {
        let mut ask = Command::new("git");
        ask.args(["ls-remote", &repository.url])
            .output()
            .ok()?
            .status
            .success()
            .then_some(())
    });
    let url = format!("chassis-url={}", repository.url);
    let service = generate(&["chassis=git", &url]);
    let dockerfile = service.path().join(STATIC.dockerfile).display().to_string();
    // The repository is on this machine.
    let build = Build::of(service.path(), &dockerfile).option("--network=host");
    lives_and_leaves(&build.arg("REVISION", "1234567").image());
}
