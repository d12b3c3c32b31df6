//! podman builds the same files, with the arguments that docs/images.md names.

use std::{fs, path::Path, process::Command};

use e2e::{root, succeed};
use tempfile::TempDir;

use crate::{
    docker::docker,
    projects::{self, add_images, copy_of},
};

/// A store of images apart from that of this machine, removed at the end of the test.
struct Podman(TempDir);

impl Podman {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn command(&self) -> Command {
        let mut podman = Command::new("podman");
        for (option, folder) in [("--root", "images"), ("--runroot", "running")] {
            podman.arg(option).arg(self.0.path().join(folder));
        }
        podman
    }

    /// Takes a base image from Docker, which pulls it if it is not there.
    fn load(&self, base: &str) {
        let archive = self.0.path().join("base.tar");
        if !docker()
            .args(["image", "inspect", base])
            .output()
            .is_ok_and(|output| output.status.success())
        {
            succeed(docker().args(["pull", "--quiet", base]));
        }
        succeed(docker().args(["save", "--output"]).arg(&archive).arg(base));
        succeed(
            self.command()
                .args(["load", "--quiet", "--input"])
                .arg(&archive),
        );
        fs::remove_file(archive).expect("a file");
    }

    /// The service's binary and the health check of the image that it builds.
    fn build(&self, project: &Path, dockerfile: &str, variant: &str) -> (Vec<u8>, String) {
        let mut build = self.command();
        build.args([
            "build",
            "--format=docker",
            "--isolation=chroot",
            "--network=host",
            "--tag=built",
        ]);
        build.args([
            "--build-arg=HEALTHCHECK=service",
            &format!("--build-arg=VARIANT={variant}"),
        ]);
        succeed(
            build
                .arg("--file")
                .arg(project.join(dockerfile))
                .arg(project),
        );
        let health =
            succeed(
                self.command()
                    .args(["inspect", "--format={{.HealthCheck}}", "built"]),
            );
        let mount = succeed(self.command().args(["image", "mount", "built"]));
        let mount = String::from_utf8(mount.stdout).expect("a path");
        let binary = fs::read(Path::new(mount.trim()).join("app/service")).expect("a binary");
        succeed(
            self.command()
                .args(["image", "unmount", "--force", "built"]),
        );
        (binary, String::from_utf8_lossy(&health.stdout).into_owned())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        _ = self.command().args(["system", "reset", "--force"]).output();
    }
}

#[test]
#[ignore = "needs Docker and podman"]
fn podman_builds_the_same_binaries_as_docker() {
    let (generic, added) = (copy_of("single-bin"), copy_of("single-bin"));
    for file in ["Dockerfile", "Dockerfile.distroless", ".dockerignore"] {
        fs::copy(root().join(file), generic.path().join(file)).expect("a file");
    }
    add_images(added.path());
    let podman = Podman::new();
    for base in [
        "rust:1.95-slim-trixie",
        "debian:trixie-slim",
        "gcr.io/distroless/static-debian13:nonroot",
        "gcr.io/distroless/cc-debian13:nonroot",
    ] {
        podman.load(base);
    }
    for (project, has_health_check) in [(generic, true), (added, false)] {
        for (dockerfile, variant) in [("Dockerfile", "cc"), ("Dockerfile.distroless", "static")] {
            let (binary, health) = podman.build(project.path(), dockerfile, variant);
            assert_eq!(
                health.contains("--health-check"),
                has_health_check,
                "{health}"
            );
            let built = projects::build(project.path(), dockerfile).arg("VARIANT", variant);
            assert!(
                built.image().binary() == binary,
                "{dockerfile}: the binaries differ"
            );
        }
    }
}
