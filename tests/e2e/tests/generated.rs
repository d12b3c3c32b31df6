//! Services that are generated for real, and then held to what the template promises.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use e2e::{Service, cargo, files, root, succeed, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One target folder for all, so that dependencies are compiled once.
static TARGET: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated"));

/// All that may lie at the top of a generated folder; nothing of the chassis' own is in it.
const TOP: [&str; 14] = [
    ".cargo",
    ".dockerignore",
    ".github",
    ".gitignore",
    "Cargo.toml",
    "Dockerfile",
    "Dockerfile.distroless",
    "README.md",
    "config",
    "deny.toml",
    "k8s",
    "scripts",
    "src",
    "tests",
];

const PLACEHOLDERS: [&str; 4] = [
    "{{project-name",
    "{{package",
    "{{crate_name",
    "{{description",
];

#[test]
fn new_run_ends_in_a_service_that_answers_until_it_is_told_to_stop() {
    let around = workspace_with_members();
    let manifest = fs::read(around.path().join("Cargo.toml")).expect("a manifest");
    let folder = around.path().join("services/order-desk");

    let mut chassis = Command::new(chassis())
        .arg("new")
        .arg(&folder)
        .arg("--run")
        .env("CARGO_TARGET_DIR", &*TARGET)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool");
    let mut said = Vec::new();
    for line in BufReader::new(chassis.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        let last = line.contains("Ctrl-C");
        said.push(line);
        if last {
            break;
        }
    }
    let said = said.join("\n");
    assert!(said.contains("order-desk is ready"), "{said}");
    for path in ["/", "/orders", "/health/readiness", "/version", "/metrics"] {
        let answered = said.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|url| url.ends_with(path)) && words.next() == Some("200")
        });
        assert!(answered, "{path}: {said}");
    }
    kill_process(Pid::from_child(&chassis), Signal::TERM).expect("a running process");
    let status = wait_for("the end", || chassis.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));

    assert_eq!(
        fs::read(around.path().join("Cargo.toml")).ok(),
        Some(manifest)
    );
    Generated {
        folder,
        extra: None,
    }
    .keeps_its_promises("order-desk");
}

#[test]
fn a_service_on_the_chassis_from_git_keeps_its_promises() {
    let place = tempfile::tempdir().expect("a folder");
    let repository = clone_of_this_checkout(place.path());
    let url = format!("chassis-url=file://{}", repository.display());
    generate(
        &repository.join("template"),
        place.path(),
        "git_orders2",
        &["chassis=git", &url],
    );
    let generated = Generated {
        folder: place.path().join("git_orders2"),
        extra: None,
    };
    generated.keeps_its_promises("git_orders2");
}

#[test]
fn a_service_on_the_chassis_from_a_registry_keeps_its_promises() {
    let place = tempfile::tempdir().expect("a folder");
    generate(
        &root().join("template"),
        place.path(),
        "registry-orders",
        &["chassis=registry"],
    );
    let folder = place.path().join("registry-orders");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("axum-chassis = \"0.1\"\n"), "{manifest}");
    // No registry has it yet.
    let patch = format!("patch.crates-io.axum-chassis.path='{}'", root().display());
    Generated {
        folder,
        extra: Some(patch),
    }
    .keeps_its_promises("registry-orders");
}

#[test]
fn without_an_answer_the_chassis_comes_from_a_checkout_nearby_or_from_git() {
    let place = tempfile::tempdir().expect("a folder");
    let template = root().join("template");
    let source = |folder: &Path| {
        generate(&template, folder, "orders", &[]);
        let manifest = folder.join("orders/Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("a manifest");
        let line = manifest
            .lines()
            .find(|line| line.starts_with("axum-chassis"));
        line.expect("the dependency").to_owned()
    };
    assert_eq!(
        source(place.path()),
        r#"axum-chassis = { git = "https://github.com/axum-chassis/axum-chassis" }"#
    );

    let beside = place.path().join("beside");
    fs::create_dir_all(&beside).expect("a folder");
    let checkout = clone_of_this_checkout(&beside);
    assert_eq!(
        source(&beside),
        r#"axum-chassis = { path = "../axum-chassis" }"#
    );
    assert_eq!(source(&checkout), r#"axum-chassis = { path = ".." }"#);
    // cargo-generate made it a member of the workspace that it lies in, and Cargo agrees.
    succeed(cargo(&checkout.join("orders")).args(["metadata", "--format-version=1", "--no-deps"]));
}

#[test]
fn a_name_that_cannot_be_one_is_refused_before_anything_is_written() {
    let place = tempfile::tempdir().expect("a folder");
    for (name, reason) in [
        ("match", "a keyword of Rust"),
        ("9lives", "start with a letter"),
        ("größe", "may consist of"),
        ("test", "a crate of Rust's own"),
        ("build", "Cargo keeps a folder"),
        ("serde-json", "depends on a crate of this name"),
        (
            "orders-for-the-whole-of-the-northern-hemisphere",
            "longer than 40",
        ),
    ] {
        let refused = try_generate(&root().join("template"), place.path(), name, &[])
            .expect_err("it is no name for a service");
        assert!(
            format!("{refused:#}").contains(reason),
            "{name}: {refused:#}"
        );
        assert_eq!(
            place.path().read_dir().expect("a folder").count(),
            0,
            "{name}"
        );
    }
}

/// A service, and what `cargo --config` it needs to be built here.
struct Generated {
    folder: PathBuf,
    extra: Option<String>,
}

impl Generated {
    fn keeps_its_promises(&self, name: &str) {
        self.holds_nothing_that_it_should_not();
        let lock = self.folder.join("Cargo.lock");
        if !lock.exists() {
            fs::copy(root().join("Cargo.lock"), lock).expect("versions that are here already");
        }

        succeed(self.cargo("fmt").arg("--check"));
        succeed(
            self.cargo("clippy")
                .args(["--all-targets", "--", "-D", "warnings"]),
        );
        succeed(&mut self.cargo("test"));

        let binary = TARGET.join("debug").join(name);
        let faults = cargo_chassis::Check::new(self.folder.join("k8s"), &binary).run();
        assert_eq!(faults.expect("manifests and a binary"), []);

        let service = Service::start(&binary, &self.folder, &[]);
        service.wait_until_ready();
        assert!(service.get("/").body.contains(name));
        assert_eq!(
            service
                .post("/orders", r#"{"item":"tea","quantity":1}"#)
                .status,
            201
        );
        assert_eq!(service.get("/orders/1").status, 200);
        assert_eq!(service.get("/orders/2").status, 404);
        assert_eq!(service.get("/health/liveness").status, 200);
        assert_eq!(service.get("/health/readiness").status, 200);
        let metrics = service.admin("/metrics").body;
        for line in [
            "orders_created_total 1",
            "readiness_check_up{check=\"store\"} 1",
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
        let (status, log) = service.stop();
        assert_eq!(status.code(), Some(0));
        assert!(
            log.iter().any(|line| line["message"] == "store closed"),
            "{log:#?}"
        );
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = cargo(&self.folder);
        cargo.env("CARGO_TARGET_DIR", &*TARGET).arg(command);
        // `cargo fmt` knows no `--config`.
        if let (Some(extra), true) = (&self.extra, command != "fmt") {
            cargo.args(["--config", extra]);
        }
        cargo
    }

    fn holds_nothing_that_it_should_not(&self) {
        let template = root().join("template");
        for file in files(&self.folder, &[".git", "Cargo.lock", "schema.json"]) {
            let top = file.iter().next().and_then(|top| top.to_str());
            assert!(
                top.is_some_and(|top| TOP.contains(&top)),
                "{}",
                file.display()
            );
            assert_ne!(
                file.extension().and_then(|end| end.to_str()),
                Some("liquid")
            );

            let text = fs::read_to_string(self.folder.join(&file)).expect("text");
            // Dashboards have `{{ }}` of their own, and are copies; what was to be filled in never is.
            let source = fs::read_to_string(template.join(&file)).unwrap_or_default();
            let copied = text == source && !PLACEHOLDERS.iter().any(|name| text.contains(name));
            // Workflows and alerts ask others to fill in `${{ }}` and `{{ $value }}`.
            let text = text.replace("${{", "").replace("{{ $", "");
            let left = text.contains("{{") || text.contains("{%");
            assert!(copied || !left, "Liquid is left in {}", file.display());
        }
    }
}

fn generate(template: &Path, into: &Path, name: &str, define: &[&str]) {
    try_generate(template, into, name, define).expect("a service");
}

/// As `cargo generate --path TEMPLATE --name NAME --silent` does it.
fn try_generate(
    template: &Path,
    into: &Path,
    name: &str,
    define: &[&str],
) -> anyhow::Result<PathBuf> {
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(template.display().to_string()),
            ..TemplatePath::default()
        },
        name: Some(name.to_owned()),
        destination: Some(into.to_owned()),
        silent: true,
        // Unformatted sources of ours must not slip through.
        no_fmt: true,
        // This build of it has no git.
        vcs: Some(Vcs::None),
        define: define.iter().map(|&define| define.to_owned()).collect(),
        ..GenerateArgs::default()
    })
}

/// `cargo chassis`, built.
fn chassis() -> PathBuf {
    let messages =
        succeed(cargo(&root()).args(["build", "--package=cargo-chassis", "--message-format=json"]));
    let messages = String::from_utf8(messages.stdout).expect("JSON");
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["kind"][0] == "bin")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.expect("an executable")
}

/// A folder that is a Cargo workspace, and none of a service's business.
fn workspace_with_members() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("Cargo.toml"),
        "[workspace]\nmembers = []\n",
    )
    .expect("a manifest");
    folder
}

/// What somebody who clones this would get once everything here is committed: `axum-chassis` in
/// `place`, a repository of one commit.
fn clone_of_this_checkout(place: &Path) -> PathBuf {
    let clone = place.join("axum-chassis");
    let git = |folder: &Path, arguments: &[&str]| {
        succeed(Command::new("git").current_dir(folder).args(arguments))
    };
    let list = git(
        &root(),
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    );
    for file in String::from_utf8(list.stdout)
        .expect("plain names")
        .split_terminator('\0')
    {
        let (from, to) = (root().join(file), clone.join(file));
        // One that is deleted and not yet committed is listed too.
        if from.exists() {
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        }
    }
    git(&clone, &["init", "--quiet"]);
    git(&clone, &["add", "--all"]);
    let author = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
    git(
        &clone,
        &[&author[..], &["commit", "--quiet", "--message=all of it"]].concat(),
    );
    clone
}
