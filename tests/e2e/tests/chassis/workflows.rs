//! The shell steps of the generated workflows, run with stand-ins for programs that reach GitHub or a registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cargo_chassis::embedded::VERSION;
use e2e::{clone_of_this_checkout, commit, git, root, succeed};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::generate::generate;
use crate::tool::read;

const AMD64: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const ARM64: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A repository on its default branch, which its origin has too.
struct Checkout {
    place: TempDir,
    name: &'static str,
}

impl Checkout {
    /// Of a generated service.
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        generate(
            &root().join("template"),
            place.path(),
            "orders",
            &["chassis=git", "workspace=own"],
        );
        let name = "orders";
        Self { place, name }.with_origin()
    }

    fn of_this_repository() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        clone_of_this_checkout(place.path());
        let name = "axum-chassis";
        Self { place, name }.with_origin()
    }

    fn with_origin(self) -> Self {
        for folder in ["origin", "tools"] {
            fs::create_dir(self.path(folder)).expect("a folder");
        }
        let (folder, origin) = (self.folder(), self.path("origin"));
        git(
            &origin,
            &["init", "--quiet", "--bare", "--initial-branch=main"],
        );
        // cargo-generate may have made a repository.
        git(&folder, &["init", "--quiet", "--initial-branch=main"]);
        git(&folder, &["checkout", "--quiet", "-B", "main"]);
        git(
            &folder,
            &["remote", "add", "origin", &origin.display().to_string()],
        );
        git(&folder, &["add", "--all"]);
        let message = "--message=all of it";
        git(&folder, &["commit", "--quiet", "--allow-empty", message]);
        git(
            &folder,
            &["push", "--quiet", "--set-upstream", "origin", "main"],
        );
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn folder(&self) -> PathBuf {
        self.path(self.name)
    }

    /// Stands in for a program. It finds files in $PLACE.
    fn stand_in(&self, program: &str, script: &str) {
        let path = self.path("tools").join(program);
        fs::write(&path, format!("#!/bin/bash\n{script}")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    }

    /// Runs the one step of a job that contains a text, as a runner does.
    fn run(&self, (workflow, job, text): (&str, &str, &str), variables: &[(&str, &str)]) -> Output {
        let file = self
            .folder()
            .join(format!(".github/workflows/{workflow}.yml"));
        let workflow: Value = serde_saphyr::from_str(&read(&file)).expect("YAML");
        let steps = workflow["jobs"][job]["steps"].as_array().expect("steps");
        let mut found = steps
            .iter()
            .filter(|step| step["run"].as_str().is_some_and(|run| run.contains(text)));
        let (step, None) = (found.next().expect("a step"), found.next()) else {
            panic!("several steps of {job} contain {text}");
        };
        let script = step["run"].as_str().expect("a script");
        assert!(
            !script.contains("${{"),
            "an expression could be code: {script}"
        );
        let folder = step["working-directory"].as_str().unwrap_or(".");
        let path = std::env::var("PATH").expect("a path");
        let mut bash = Command::new("bash");
        bash.args(["-e", "-o", "pipefail", "-c", script]);
        bash.current_dir(self.folder().join(folder));
        bash.env("PATH", format!("{}:{path}", self.path("tools").display()));
        bash.env("PLACE", self.place.path());
        bash.env("GITHUB_OUTPUT", self.path("output"));
        bash.envs([("VERSION", "v0.1.0"), ("IMAGE", "ghcr.io/acme/orders")]);
        bash.env("GIT_CONFIG_GLOBAL", self.path("gitconfig"));
        bash.envs(variables.iter().copied());
        bash.output().expect("bash")
    }

    /// The outputs of a step, for later ones.
    fn outputs(&self, step: (&str, &str, &str), variables: &[(&str, &str)]) -> String {
        fs::write(self.path("output"), "").expect("a file");
        let output = self.run(step, variables);
        assert!(output.status.success(), "{output:?}");
        let outputs = read(&self.path("output"));
        fs::remove_file(self.path("output")).expect("a file");
        outputs
    }
}

#[test]
fn a_tag_is_released_if_it_is_on_the_default_branch_and_is_the_version() {
    let service = Checkout::new();
    let folder = service.folder();
    let on_branch = ("release", "test", "merge-base");
    let of_version = ("release", "test", "Cargo.toml");
    let passes = |step, version| {
        let output = service.run(step, &[("BRANCH", "main"), ("VERSION", version)]);
        output.status.success()
    };
    assert!(passes(on_branch, "v0.1.0") && passes(of_version, "v0.1.0"));
    assert!(!passes(of_version, "v0.1.1"));
    git(&folder, &["checkout", "--quiet", "-b", "aside"]);
    fs::write(folder.join("aside"), "").expect("a file");
    commit(&folder, "not reviewed");
    assert!(!passes(on_branch, "v0.1.0"));
}

#[test]
fn the_name_of_the_image_has_no_capitals() {
    let service = Checkout::new();
    let named = service.outputs(
        ("release", "test", "ghcr.io"),
        &[("GITHUB_REPOSITORY", "Acme/Orders")],
    );
    assert_eq!(named, "image=ghcr.io/acme/orders\n");
}

#[test]
fn a_job_hands_on_the_digest_that_it_pushed_and_no_other_repositorys() {
    let service = Checkout::new();
    service.stand_in(
        "docker",
        &format!(
            "case $1 in push) echo pushed >>\"$PLACE/pushed\";; \
             *) printf 'localhost/orders@{AMD64}\\nghcr.io/acme/orders@{ARM64}\\n';; esac\n"
        ),
    );
    let pushed = service.outputs(
        ("release", "image", "docker push"),
        &[("ARCHITECTURE", "arm64")],
    );
    assert_eq!(pushed, format!("digest={ARM64}\narm64={ARM64}\n"));
    assert_eq!(read(&service.path("pushed")), "pushed\n");
}

#[test]
#[ignore = "needs jq"]
fn an_index_is_signed_if_it_has_the_two_images_and_nothing_else() {
    let service = Checkout::new();
    service.stand_in(
        "docker",
        "case $3 in create) echo \"$@\" >\"$PLACE/joined\";; *) cat \"$PLACE/index\";; esac\n",
    );
    let join = ("release", "publish", "imagetools");
    let digests = [("AMD64", AMD64), ("ARM64", ARM64)];
    let index = |digests: &[&str]| {
        let manifests: Vec<_> = digests
            .iter()
            .map(|digest| serde_json::json!({ "digest": digest }))
            .collect();
        let index = serde_json::json!({ "manifests": manifests }).to_string();
        fs::write(service.path("index"), index).expect("a file");
    };
    index(&[ARM64, AMD64]);
    let joined = service.outputs(join, &digests);
    let sum = succeed(Command::new("sha256sum").arg(service.path("index"))).stdout;
    let sum = String::from_utf8_lossy(&sum);
    let sum = sum.split(' ').next().expect("a sum");
    assert_eq!(joined, format!("digest=sha256:{sum}\n"));
    let created = read(&service.path("joined"));
    assert!(
        created.ends_with(&format!("orders@{AMD64} ghcr.io/acme/orders@{ARM64}\n")),
        "{created}"
    );
    for other in [&[AMD64][..], &[AMD64, ARM64, AMD64], &[AMD64, AMD64]] {
        index(other);
        assert!(!service.run(join, &digests).status.success(), "{other:?}");
    }
}

#[test]
fn the_overlay_of_production_is_changed_by_a_pull_request() {
    let service = Checkout::new();
    let folder = service.folder();
    service.stand_in(
        "kustomize",
        "to=${4#*=}\nsed -i \"s|newName: .*|newName: ${to%@*}|; s|newTag: .*|digest: ${to#*@}|\" kustomization.yaml\n",
    );
    service.stand_in("gh", "echo \"$@\" >>\"$PLACE/asked\"\n");
    let variables = [("DIGEST", AMD64)];
    for text in ["kustomize", "git commit"] {
        let output = service.run(("release", "overlay", text), &variables);
        assert!(output.status.success(), "{output:?}");
    }
    let asked = read(&service.path("asked"));
    assert_eq!(
        asked,
        "auth setup-git\npr create --fill --head release/v0.1.0\n"
    );
    git(&folder, &["fetch", "--quiet"]);
    let changed = git(
        &folder,
        &["diff", "--name-only", "main", "origin/release/v0.1.0"],
    );
    assert_eq!(changed, "k8s/overlays/production/kustomization.yaml\n");
    let overlay = git(
        &folder,
        &[
            "show",
            "origin/release/v0.1.0:k8s/overlays/production/kustomization.yaml",
        ],
    );
    assert!(
        overlay.contains(&format!(
            "newName: ghcr.io/acme/orders\n    digest: {AMD64}\n"
        )),
        "{overlay}"
    );
    git(&folder, &["diff", "--exit-code", "main", "origin/main"]);
}

#[test]
fn the_nightly_scan_is_of_the_newest_release() {
    let service = Checkout::new();
    service.stand_in("docker", "! grep --line-regexp \"$4\" \"$PLACE/missing\"\n");
    let released = ("nightly", "image", "versionsort");
    let variables = [("GITHUB_REPOSITORY", "Acme/Orders")];
    let scanned = |missing: &str| {
        fs::write(service.path("missing"), missing).expect("a file");
        service.outputs(released, &variables)
    };
    assert_eq!(scanned(""), "");
    for tag in ["v1.9.0", "v1.10.0", "v1.10.0-rc.1", "v1.2.0"] {
        git(&service.folder(), &["tag", tag]);
    }
    assert_eq!(scanned(""), "image=ghcr.io/acme/orders:v1.10.0\n");

    let rejected = "ghcr.io/acme/orders:v1.10.0\nghcr.io/acme/orders:v1.10.0-rc.1\n";
    assert_eq!(scanned(rejected), "image=ghcr.io/acme/orders:v1.9.0\n");
    let output = service.run(released, &variables);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("::warning::v1.10.0 has no image"),
        "{printed}"
    );
}

#[test]
fn a_release_that_waits_for_reviewers_is_not_cancelled_by_another_tag() {
    let service = Checkout::new();
    let file = service.folder().join(".github/workflows/release.yml");
    let workflow: Value = serde_saphyr::from_str(&read(&file)).expect("YAML");
    assert_eq!(
        workflow["concurrency"],
        json!({ "group": "release-${{ github.ref }}", "cancel-in-progress": false })
    );
}

#[test]
#[ignore = "needs jq"]
fn failures_of_the_night_open_one_issue_and_later_update_it() {
    let service = Checkout::new();
    service.stand_in(
        "gh",
        "if [ \"$2\" = list ]; then cat \"$PLACE/open\"; else printf '%s\\n' \"$@\" >\"$PLACE/asked\"; fi\n",
    );
    let report = |open: &str| {
        fs::write(service.path("open"), open).expect("a file");
        let needs = r#"{"advisories":{"result":"failure"},"doctor":{"result":"success"},"image":{"result":"failure"}}"#;
        let variables = [
            ("RESULTS", needs),
            ("TITLE", "Nightly checks fail"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/orders"),
            ("GITHUB_RUN_ID", "7"),
        ];
        let output = service.run(("nightly", "report", "gh issue"), &variables);
        assert!(output.status.success(), "{output:?}");
        read(&service.path("asked"))
    };
    let body = "- advisories\n- image\n\nhttps://github.com/acme/orders/actions/runs/7\n";
    assert_eq!(
        report(""),
        format!("issue\ncreate\n--title\nNightly checks fail\n--body\n{body}")
    );
    assert_eq!(report("12\n"), format!("issue\nedit\n12\n--body\n{body}"));
}

#[test]
fn a_tag_of_this_repository_is_released_if_its_version_is_in_the_manifest_changelog_and_archive() {
    let checkout = Checkout::of_this_repository();
    let folder = checkout.folder();
    let tag = format!("v{VERSION}");
    let passes = |text, version: &str| {
        let step = ("release", "test", text);
        let output = checkout.run(step, &[("BRANCH", "main"), ("VERSION", version)]);
        output.status.success()
    };
    assert!(passes("Cargo.toml", &tag) && !passes("Cargo.toml", "v99.0.0"));
    // Versions of earlier releases are in it.
    assert!(passes("CHANGELOG.md", "v0.5.0") && !passes("CHANGELOG.md", "v99.0.0"));
    checkout.stand_in("cargo", "true\n");
    assert!(passes("cargo xtask release", &tag));
    checkout.stand_in("cargo", "echo >>cargo-chassis/releases.tar.lz\n");
    assert!(!passes("cargo xtask release", &tag));
    git(&folder, &["checkout", "--quiet", "."]);

    assert!(passes("merge-base", &tag));
    git(&folder, &["checkout", "--quiet", "-b", "aside"]);
    fs::write(folder.join("aside"), "").expect("a file");
    commit(&folder, "not reviewed");
    assert!(!passes("merge-base", &tag));
}

#[test]
fn a_release_of_this_repository_is_a_draft_until_it_has_both_archives_with_their_checksums() {
    let checkout = Checkout::of_this_repository();
    let folder = checkout.folder();
    let asked = || read(&checkout.path("asked"));
    // Downloads are what was uploaded before.
    checkout.stand_in(
        "gh",
        "echo \"$@\" >\"$PLACE/asked\"\nmkdir -p \"$PLACE/release\"\n\
         case $2 in upload) cp \"${@:4}\" \"$PLACE/release\";; download) cp \"$PLACE/release\"/*.tar.gz* .;; esac\n",
    );
    let run = |job, text, variables: &[(&str, &str)]| {
        let variables = [&[("VERSION", "v0.5.0")], variables].concat();
        checkout.run(("release", job, text), &variables)
    };
    assert!(run("draft", "gh release", &[]).status.success());
    let draft = "release create v0.5.0 --draft --verify-tag --title v0.5.0 --notes-file notes.md\n";
    assert_eq!(asked(), draft);
    let notes = read(&folder.join("notes.md"));
    assert!(
        notes.contains("### Added") && !notes.contains("## ["),
        "{notes}"
    );
    let changelog = read(&folder.join("CHANGELOG.md"));
    let (_, section) = changelog.split_once("\n## [0.5.0]").expect("a section");
    let (_, section) = section.split_once('\n').expect("lines");
    assert!(section.starts_with(&notes), "{notes}");

    // A cargo that builds at once.
    checkout.stand_in(
        "cargo",
        "mkdir -p \"target/${@: -1}/release\"\necho \"$ARCHITECTURE\" >\"target/${@: -1}/release/cargo-chassis\"\n",
    );
    fs::write(folder.join("sbom.spdx.json"), "{}").expect("a file");
    for architecture in ["x86_64", "aarch64"] {
        assert!(!run("publish", "gh release", &[]).status.success());
        for text in ["cargo build", "gh release upload"] {
            let output = run("build", text, &[("ARCHITECTURE", architecture)]);
            assert!(output.status.success(), "{output:?}");
        }
        let archive = format!("cargo-chassis-v0.5.0-{architecture}-linux");
        let listed = "tar.gz tar.gz.sha256 spdx.json".split(' ');
        let mut listed = listed.map(|end| format!("{archive}.{end}"));
        assert!(listed.all(|file| checkout.path("release").join(file).exists()));
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--to-stdout", "--file"]);
        tar.arg(folder.join(format!("{archive}.tar.gz")));
        let program = succeed(tar.arg("./cargo-chassis")).stdout;
        assert_eq!(String::from_utf8_lossy(&program).trim(), architecture);
        // Another machine builds the next one.
        git(&folder, &["clean", "--quiet", "--force", "-d", "-x"]);
        fs::write(folder.join("sbom.spdx.json"), "{}").expect("a file");
    }
    assert!(run("publish", "gh release", &[]).status.success());
    assert_eq!(asked(), "release edit v0.5.0 --draft=false\n");

    let changed = checkout.path("release/cargo-chassis-v0.5.0-aarch64-linux.tar.gz");
    fs::write(changed, "something else").expect("a file");
    assert!(!run("publish", "gh release", &[]).status.success());
    assert!(asked().starts_with("release download"), "{}", asked());
}

#[test]
fn the_reviewers_of_an_environment_are_asked_before_a_release_of_this_repository_is_made() {
    let workflow = read(&root().join(".github/workflows/release.yml"));
    let workflow: Value = serde_saphyr::from_str(&workflow).expect("YAML");
    let jobs = &workflow["jobs"];
    assert_eq!(jobs["draft"]["environment"], "release");
    for (job, needs) in [("draft", "test"), ("build", "draft"), ("publish", "build")] {
        assert_eq!(jobs[job]["needs"], needs);
    }
    assert_eq!(workflow["permissions"], json!({}));
    assert_eq!(jobs["test"]["permissions"], json!({ "contents": "read" }));
}

/// Texts of the shell steps that a test runs, here, in `generated_service.rs`, `doctor.rs` or `tests/images`.
const RUN: [&str; 23] = [
    ".ci/run",
    "^## \\[",
    "cargo build --release",
    "cargo chassis check",
    "cargo chassis doctor",
    "cargo clippy",
    "cargo fmt",
    "cargo test",
    "cargo xtask release",
    "docker build",
    "docker push",
    "docker run",
    "gh issue",
    "gh pr create",
    "gh release create",
    "gh release download",
    "gh release upload",
    "imagetools create",
    "imagetools inspect",
    "image=ghcr.io",
    "kustomize edit",
    "merge-base",
    "version = ",
];

/// Texts of the steps that no test runs. CONTRIBUTING.md has the reasons.
const NOT_RUN: [&str; 3] = [
    "cargo install --git",
    "cosign sign",
    "rustup toolchain install",
];

#[test]
fn each_shell_step_is_run_by_a_test_or_contributing_lists_it() {
    let service = Checkout::new();
    let contributing = read(&root().join("CONTRIBUTING.md"));
    let folders = [service.folder(), root()].map(|folder| folder.join(".github/workflows"));
    let mut seen = 0;
    let mut actions = Vec::new();
    for file in [
        folders[0].join("ci.yml"),
        folders[0].join("nightly.yml"),
        folders[0].join("release.yml"),
        folders[1].join("release.yml"),
    ] {
        let workflow: Value = serde_saphyr::from_str(&read(&file)).expect("YAML");
        let jobs = workflow["jobs"].as_object().expect("jobs").values();
        for step in jobs.flat_map(|job| job["steps"].as_array().expect("steps")) {
            if let Some(action) = step["uses"].as_str() {
                actions.push(action.split('@').next().unwrap_or(action).to_owned());
                continue;
            }
            let script = step["run"].as_str().expect("a script");
            let is_run = RUN.iter().any(|text| script.contains(text));
            let listed = NOT_RUN.iter().find(|text| script.contains(*text));
            assert!(is_run != listed.is_some(), "{}: {script}", file.display());
            let row = listed.map(|text| format!("| `{text}"));
            assert!(
                row.is_none_or(|row| contributing.contains(&row)),
                "{script}"
            );
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
    for action in actions {
        assert!(contributing.contains(&format!("`{action}`")), "{action}");
    }
}

/// Files for the linters of workflows: those of services with each answer, and those of this repository.
#[test]
#[ignore = "needs actionlint, shellcheck and zizmor"]
fn workflows_have_no_finding_of_their_linters() {
    let lint = |folder: &Path| {
        let workflows = folder.join(".github/workflows");
        let files = fs::read_dir(&workflows)
            .expect("workflows")
            .map(|file| file.expect("a file").path());
        succeed(Command::new("actionlint").args(files));
        succeed(
            Command::new("zizmor")
                .args(["--offline", "--no-progress"])
                .arg(folder.join(".github")),
        );
    };
    lint(&root());
    for answers in [
        &["database=postgres", "redis=yes"][..],
        &["deploy=docker"],
        &["deploy=none"],
    ] {
        let place = tempfile::tempdir().expect("a folder");
        let answers = [answers, &["chassis=git", "workspace=own"]].concat();
        generate(&root().join("template"), place.path(), "orders", &answers);
        lint(&place.path().join("orders"));
    }
}
