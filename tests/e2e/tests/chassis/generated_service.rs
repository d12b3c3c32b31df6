//! Checks that every generated service has to pass.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum_chassis_testing::Program;
use e2e::{cargo, files, root, run_lines, said, succeed, wait_for};

use crate::tool::{TARGET, chassis, read};

/// All that may lie at the top of a generated folder; nothing of the chassis' own is in it.
const TOP: [&str; 26] = [
    ".cargo",
    ".chassis.toml",
    ".devcontainer",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "AGENTS.md",
    "Cargo.toml",
    "Dockerfile",
    "Dockerfile.distroless",
    "README.md",
    "SECURITY.md",
    "build.rs",
    "compose",
    "config",
    "docs",
    "deny.toml",
    "docker-compose.yml",
    "k8s",
    "migrations",
    "scripts",
    "src",
    "tests",
    "vendor",
];

const PLACEHOLDERS: [&str; 4] = [
    "{{project-name",
    "{{package",
    "{{crate_name",
    "{{description",
];

/// A service, and the configuration of cargo that it needs to be built here.
pub(crate) struct Generated {
    pub(crate) folder: PathBuf,
    extra: Option<PathBuf>,
    /// Where its stores are, by their variables.
    pub(crate) stores: Vec<(&'static str, String)>,
}

impl Generated {
    /// One that needs no more than what is in its folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self {
            folder,
            extra: None,
            stores: Vec::new(),
        }
    }

    /// One with the crates of this checkout in place of those of the registry, which does not have them yet.
    pub(crate) fn from_registry(folder: PathBuf) -> Self {
        let file = folder.with_extension("patch.toml");
        let crates = [
            ("axum-chassis", ""),
            ("axum-chassis-otlp", "axum-chassis-otlp"),
            ("axum-chassis-testing", "axum-chassis-testing"),
        ];
        let patches = crates
            .map(|(name, place)| format!("{name}.path = '{}'\n", root().join(place).display()));
        let text = format!("[patch.crates-io]\n{}", patches.concat());
        fs::write(&file, text).expect("a file");
        Self {
            extra: Some(file),
            ..Self::at(folder)
        }
    }

    /// For one whose generator could not give it a Cargo.lock: versions that are here already.
    pub(crate) fn takes_the_versions_of_this_checkout(&self) {
        fs::copy(root().join("Cargo.lock"), self.folder.join("Cargo.lock")).expect("a lock file");
        // Takes out what the service does without.
        succeed(&mut self.cargo(&["tree", "--quiet"]));
    }

    pub(crate) fn keeps_its_promises(&self, name: &str) {
        self.holds_nothing_that_it_should_not();
        let lock = read(&self.folder.join("Cargo.lock"));
        self.is_green(name);
        self.answers_and_stops(name);
        assert_eq!(read(&self.folder.join("Cargo.lock")), lock);
    }

    /// Every command of its workflow, but for those of Docker, which tests/images runs.
    pub(crate) fn is_green(&self, name: &str) {
        let mut passed = 0;
        for line in run_lines(&read(&self.folder.join(".github/workflows/ci.yml"))) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                // The tool of this checkout stands in for the released one.
                [
                    "cargo",
                    "install",
                    "--git",
                    _,
                    "--tag",
                    _,
                    "cargo-chassis",
                    "--locked",
                ] => continue,
                // The compiler at hand stands in for the release that the workflow names.
                ["rustup", "toolchain", "install", ..] => continue,
                ["cargo", "chassis", "check"] => self.passes_the_check(name),
                ["cargo", ref arguments @ ..] => {
                    succeed(&mut self.cargo(arguments));
                }
                ["docker", ..] => continue,
                _ => panic!("nobody tries `{line}`"),
            }
            passed += 1;
        }
        // Without manifests there is nothing to check.
        let manifests = self.folder.join("k8s").is_dir();
        assert_eq!(passed, if manifests { 4 } else { 3 });
    }

    fn passes_the_check(&self, name: &str) {
        let mut check = chassis(&self.folder);
        check.arg("check");
        let binary = TARGET.join("debug").join(name);
        if self.extra.is_some() {
            succeed(&mut self.cargo(&["build"]));
            check.arg("--binary").arg(&binary);
        }
        let found = said(&mut check, 0);
        assert!(found.contains("faults: 0"), "{found}");
    }

    /// It builds, and its tests pass.
    pub(crate) fn builds(&self) {
        succeed(&mut self.cargo(&["test", "--quiet"]));
    }

    pub(crate) fn compiles(&self) {
        succeed(&mut self.cargo(&["build", "--quiet"]));
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = cargo(&self.folder);
        cargo.env("CARGO_TARGET_DIR", &*TARGET);
        cargo.envs(self.stores.iter().map(|(name, url)| (name, url)));
        let (command, rest) = arguments.split_first().expect("a command");
        cargo.arg(command);
        // `cargo fmt` knows no `--config`.
        if let (Some(extra), true) = (&self.extra, *command != "fmt") {
            cargo.arg("--config").arg(extra);
        }
        cargo.args(rest);
        cargo
    }

    fn answers_and_stops(&self, name: &str) {
        let binary = TARGET.join("debug").join(name);
        let mut program = Program::new(binary).folder(&self.folder);
        for (name, url) in &self.stores {
            program = program.variable(name, url);
        }
        let kept_in = if read(&self.folder.join("Cargo.toml")).contains("sqlx") {
            let migrated = program.clone().argument("migrate").output();
            assert_eq!(migrated.code, Some(0), "{}", migrated.stdout);
            "database"
        } else {
            "store"
        };
        let service = program.start();
        assert!(service.get("/").text().contains(name));
        let order = r#"{"reference":"A-1","item":"tea","quantity":1}"#;
        assert_eq!(service.post("/orders", order).status, 201);
        assert_eq!(service.get("/orders/1").status, 200);
        assert_eq!(service.get("/orders/2").status, 404);
        assert_eq!(service.get("/health/liveness").status, 200);
        assert_eq!(service.get("/health/readiness").status, 200);
        let metrics = service.admin().get("/metrics");
        for line in [
            "orders_created_total 1",
            &format!("readiness_check_up{{check=\"{kept_in}\"}} 1"),
        ] {
            assert!(metrics.text().contains(line), "{line}: {metrics:?}");
        }
        let ended = service.stop();
        assert_eq!(ended.code, Some(0));
        if kept_in == "store" {
            ended.message("store closed");
        }
        // Nothing but JSON.
        assert_eq!(ended.stdout.lines().count(), ended.log.len());
    }

    /// Built as it is, with no feature asked for.
    pub(crate) fn exports_traces(&self, name: &str) {
        let collector = TcpListener::bind("localhost:0").expect("a port");
        let address = collector.local_addr().expect("an address");
        // A service that exports nothing is waited for as long as anything here, and no longer.
        collector.set_nonblocking(true).expect("a listener");
        let service = Program::new(TARGET.join("debug").join(name))
            .folder(&self.folder)
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .variable("OTEL_BSP_SCHEDULE_DELAY", "1")
            .start();
        assert_eq!(service.get("/orders").status, 200);
        let (stream, _) = wait_for("a connection", || collector.accept().ok());
        stream.set_nonblocking(false).expect("a stream");
        let mut request = String::new();
        BufReader::new(stream)
            .read_line(&mut request)
            .expect("a request");
        assert_eq!(request.trim_end(), "POST /v1/traces HTTP/1.1");
    }

    fn holds_nothing_that_it_should_not(&self) {
        let template = root().join("template");
        for file in files(
            &self.folder,
            &[".git", "Cargo.lock", "schema.json", "vendor"],
        ) {
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

            let text = read(&self.folder.join(&file));
            // Dashboards have `{{ }}` of their own, and are copies, wherever they lie; what was to be filled in never is.
            let source = if file.ends_with("dashboard.json") {
                Path::new("k8s/components/dashboard/dashboard.json")
            } else {
                &file
            };
            let source = fs::read_to_string(template.join(source)).unwrap_or_default();
            let copied = text == source && !PLACEHOLDERS.iter().any(|name| text.contains(name));
            // GitHub fills in `${{ }}`, Prometheus `{{ $value }}`, and Docker `{{json .Field}}` and `{{join .Fields ","}}`.
            let others = ["${{", "{{ $", "{{json ", "{{join "];
            let text = others
                .iter()
                .fold(text, |text, other| text.replace(other, ""));
            let left = text.contains("{{") || text.contains("{%");
            assert!(copied || !left, "Liquid is left in {}", file.display());
        }
    }
}
