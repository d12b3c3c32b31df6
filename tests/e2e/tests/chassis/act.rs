//! Jobs of the generated workflows, run by act on this machine.
//!
//! act takes the expressions, the conditions, the matrix and the outputs from the workflow. Actions are downloaded from
//! GitHub, so stand-ins take their place; the stand-in of cargo-deny-action runs `cargo deny`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{commit, edit, git, said};
use tempfile::TempDir;

use crate::generated_service::Generated;
use crate::tool::{TARGET, chassis, read};

/// A stand-in for an action that does nothing.
const NOTHING: &str = r#"
runs:
  using: composite
  steps: [{run: "true", shell: bash}]
"#;

const CARGO_DENY: &str = r#"
inputs: {command: {description: what to check, required: true}}
runs:
  using: composite
  steps:
    - run: cargo deny $COMMAND
      shell: bash
      env: {COMMAND: "${{ inputs.command }}"}
"#;

/// A service in git, with stand-ins for actions and programs beside it.
struct Workshop {
    place: TempDir,
    service: Generated,
}

impl Workshop {
    fn new(name: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let mut new = chassis(place.path());
        said(new.args(["new", name]).env("CARGO", "true"), 0);
        let service = Generated::at(place.path().join(name));
        service.takes_the_versions_of_this_checkout();
        let workshop = Self { place, service };
        let folder = &workshop.service.folder;
        git(folder, &["init", "--quiet", "--initial-branch=main"]);
        git(folder, &["checkout", "--quiet", "-B", "main"]);
        let origin = workshop.path("acme/service.git");
        git(folder, &["init", "--quiet", "--bare", &origin]);
        git(folder, &["remote", "add", "origin", &origin]);
        workshop.commits();

        // The installed compiler, and the tool of this checkout.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let installs = format!("[ \"$1\" = install ] || exec {cargo} \"$@\"");
        workshop.stand_in("cargo", &installs);
        workshop.stand_in("rustup", "echo rustup \"$@\"");
        let tool = chassis(folder).get_program().display().to_string();
        workshop.stand_in("cargo-chassis", &format!("exec {tool} \"$@\""));
        workshop
    }

    /// Commits and pushes everything.
    fn commits(&self) {
        commit(&self.service.folder, "everything");
        git(&self.service.folder, &["push", "--quiet", "origin", "main"]);
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    fn stand_in(&self, program: &str, script: &str) {
        let path = self.place.path().join("tools").join(program);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    }

    /// Writes a stand-in for an action, and returns its folder.
    fn action(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.place.path().join("actions").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let head = "name: stand-in\ndescription: a stand-in";
        fs::write(folder.join("action.yml"), format!("{head}{text}")).expect("a file");
        folder
    }

    /// Runs a job of a workflow.
    fn act(&self, workflow: &str, job: &str, event: &[&str]) -> Output {
        let file = format!(".github/workflows/{workflow}.yml");
        let text = read(&self.service.folder.join(&file));
        let mut act = Command::new("act");
        act.current_dir(&self.service.folder).args(event);
        act.args(["--job", job, "--workflows", &file]);
        act.args(["--platform", "ubuntu-latest=-self-hosted"]);
        for line in text.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            let action = action.split(' ').next().expect("a word");
            let (name, _) = action.split_once('@').expect("a commit");
            let text = match name {
                "EmbarkStudios/cargo-deny-action" => CARGO_DENY,
                _ => NOTHING,
            };
            let folder = self.action(name, text).display().to_string();
            act.args(["--local-repository", &format!("{action}={folder}")]);
        }
        // act writes its own files into the home folder.
        let home = std::env::var("HOME").expect("a home");
        let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
        let rustup_home =
            std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
        act.env("HOME", self.place.path());
        act.envs([("CARGO_HOME", cargo_home), ("RUSTUP_HOME", rustup_home)]);
        act.env("CARGO_TARGET_DIR", &*TARGET);
        let path = std::env::var("PATH").expect("a path");
        let cargo = std::env::var("CARGO").unwrap_or_default();
        let toolchain = Path::new(&cargo).parent().unwrap_or(Path::new("/"));
        let path = format!("{}:{}:{path}", self.path("tools"), toolchain.display());
        act.env("PATH", path).output().expect("act")
    }

    /// Runs a job that has to pass, and returns what was printed.
    fn passes(&self, workflow: &str, job: &str, event: &[&str]) -> String {
        let output = self.act(workflow, job, event);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{workflow}, {job}: {said}{errors}");
        said
    }
}

/// Run by the nightly CI, because they compile a service.
mod nightly {
    use super::{Workshop, edit, fs};

    #[test]
    #[ignore = "needs act and cargo-deny"]
    fn act_runs_the_jobs_that_need_neither_docker_nor_a_registry() {
        let workshop = Workshop::new("acted-orders");
        let said = workshop.passes("ci", "lints", &["push"]);
        assert!(said.contains("rustup toolchain install 1.95"), "{said}");
        let said = workshop.passes("ci", "check", &["push"]);
        // The stand-in of the cache has no hit, so the tool is installed.
        for part in ["Main cargo install --git", "0 failed", "faults: 0"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        // Advisories need a network, and act ignores a job's `continue-on-error`: findings/act-job-continue-on-error.sh.
        let matrix = ["push", "--matrix", "checks:bans licenses sources"];
        let said = workshop.passes("ci", "dependencies", &matrix);
        assert!(said.contains("Success - Main cargo deny"), "{said}");
        workshop.passes("nightly", "doctor", &["schedule"]);
    }

    #[test]
    #[ignore = "needs act"]
    fn act_fails_a_job_whose_command_fails() {
        let workshop = Workshop::new("misformatted-orders");
        let file = workshop.service.folder.join("src/routes.rs");
        edit(&file, "fn greet()", "fn  greet()");
        let output = workshop.act("ci", "lints", &["push"]);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Failure - Main cargo fmt --check"), "{said}");
    }

    #[test]
    #[ignore = "needs act"]
    fn act_runs_the_tests_of_a_release() {
        let workshop = Workshop::new("released-orders");
        let folder = &workshop.service.folder;
        // act does not accept this permission of another job: findings/act-newer-permission.sh.
        let file = folder.join(".github/workflows/release.yml");
        edit(&file, "      artifact-metadata: write\n", "");
        workshop.commits();
        let event = workshop.path("event.json");
        let tag = |tag: &str| {
            let repository = r#"{"default_branch": "main"}"#;
            let text = format!(r#"{{"ref": "refs/tags/{tag}", "repository": {repository}}}"#);
            fs::write(&event, text).expect("a file");
            workshop.act("release", "test", &["push", "--eventpath", &event])
        };
        let released = tag("v0.1.0");
        let said = String::from_utf8_lossy(&released.stdout).into_owned();
        assert!(released.status.success(), "{said}");
        for part in ["Main The tag is on the default branch", "0 failed"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let other = tag("v0.2.0");
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        let failed = "Failure - Main The tag is the version in Cargo.toml";
        assert!(!other.status.success() && said.contains(failed), "{said}");
    }
}
