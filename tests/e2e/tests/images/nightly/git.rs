//! A service whose chassis is a dependency from git, and not beside it.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use e2e::{clone_of_this_checkout, wait_for};
use tempfile::TempDir;

use crate::{
    docker::Build,
    generated::generate,
    service::{STATIC, starts_and_shuts_down},
};

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
    let service = generate(&["chassis=git", &url, "deploy=docker"]);
    // The repository is on this machine.
    let build = Build::of(service.path(), STATIC.dockerfile).option("--network=host");
    starts_and_shuts_down(&build.arg("REVISION", "1234567").unoptimized().image());
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
