//! The question `deploy`: each answer leaves what it names, all of what that needs, and no word about the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{files, root, run_lines, succeed};
use serde_json::Value;
use tempfile::TempDir;

use crate::generate::generate;
use crate::tool::read;

const NAME: &str = "tea-orders";

/// A service made with one answer.
struct Deployed {
    _place: TempDir,
    folder: PathBuf,
}

impl Deployed {
    fn by(deploy: &str) -> Self {
        Self::with(deploy, &[])
    }

    fn with(deploy: &str, define: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let deploy = format!("deploy={deploy}");
        let define = [define, &[&deploy, "chassis=git", "workspace=own"]].concat();
        generate(&root().join("template"), place.path(), NAME, &define);
        Self {
            folder: place.path().join(NAME),
            _place: place,
        }
    }

    fn read(&self, file: &str) -> String {
        read(&self.folder.join(file))
    }

    fn yaml(&self, file: &str) -> Value {
        serde_saphyr::from_str(&self.read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The files below a folder that have this ending, without it; none without the folder.
    fn stems(&self, folder: &str, ending: &str) -> BTreeSet<String> {
        let folder = self.folder.join(folder);
        let found = if folder.is_dir() {
            files(&folder, &[])
        } else {
            Vec::new()
        };
        let names = found.iter().filter_map(|file| file.to_str());
        names
            .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
            .collect()
    }

    /// The commands of each of its workflows.
    fn commands(&self) -> BTreeSet<String> {
        let workflows = self.stems(".github/workflows", ".yml").into_iter();
        workflows
            .flat_map(|name| run_lines(&self.read(&format!(".github/workflows/{name}.yml"))))
            .collect()
    }

    fn jobs(&self, workflow: &str) -> BTreeSet<String> {
        let workflow = self.yaml(&format!(".github/workflows/{workflow}.yml"));
        let jobs = workflow["jobs"].as_object().expect("jobs").keys();
        jobs.cloned().collect()
    }

    /// The names that stand in its rules after `key`, up to `end`.
    fn named_in_rules(&self, rules: &str, key: &str, end: char) -> BTreeSet<String> {
        let rules = self.read(rules);
        let named = rules.split(key).skip(1);
        named
            .filter_map(|rest| rest.split(end).next().map(str::to_owned))
            .collect()
    }
}

/// The entries of the top folder with every answer.
const TOP: [&str; 14] = [
    ".cargo",
    ".chassis.toml",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "AGENTS.md",
    "Cargo.toml",
    "README.md",
    "SECURITY.md",
    "config",
    "deny.toml",
    "src",
    "tests",
];
const DOCKER: [&str; 7] = [
    ".devcontainer",
    ".dockerignore",
    "Dockerfile",
    "Dockerfile.distroless",
    "compose",
    "docker-compose.yml",
    "docs",
];
const KUBERNETES: [&str; 2] = ["k8s", "scripts"];

/// In small letters, for text in small letters: no answer but `kubernetes` has any of them.
const OF_KUBERNETES: [&str; 9] = [
    "kube",
    "k8s",
    "kustom",
    "overlay",
    "networkpolic",
    "configmap",
    "servicemonitor",
    "autoscaler",
    "cargo chassis check",
];
const OF_DOCKER: [&str; 5] = ["docker", "compose", "images", "runbook", "grafana"];

#[test]
fn each_answer_leaves_the_files_that_it_names_and_is_recorded() {
    for (deploy, top) in [
        ("kubernetes", [&TOP[..], &DOCKER, &KUBERNETES].concat()),
        ("docker", [&TOP[..], &DOCKER].concat()),
        ("none", TOP.to_vec()),
    ] {
        let service = Deployed::by(deploy);
        let files = files(&service.folder, &[]);
        let entries = files.iter().filter_map(|file| file.iter().next()?.to_str());
        let entries: BTreeSet<&str> = entries.collect();
        assert_eq!(entries, top.into_iter().collect(), "{deploy}");
        let readme = service.read("README.md");
        assert!(readme.lines().count() < 120, "{deploy}: {readme}");
        assert!(!readme.contains("\n\n\n"), "{deploy}: {readme}");
        let record = service.read(".chassis.toml");
        let answer = format!("deploy = \"{deploy}\"\n");
        assert!(record.contains(&answer), "{record}");
    }
}

#[test]
fn no_file_mentions_a_part_that_was_not_chosen() {
    let stores = ["database=postgres", "redis=yes", "otlp=yes"];
    for (deploy, gone) in [
        ("docker", OF_KUBERNETES.to_vec()),
        ("none", [&OF_KUBERNETES[..], &OF_DOCKER].concat()),
    ] {
        for define in [&[][..], &["database=sqlite"], &stores] {
            let service = Deployed::with(deploy, define);
            for file in files(&service.folder, &[]) {
                let at = file.display().to_string();
                let text = read(&service.folder.join(file));
                for line in [&*at].into_iter().chain(text.lines()) {
                    let line = line.to_lowercase();
                    for word in &gone {
                        assert!(!line.contains(word), "{deploy}: {word} in {at}: {line}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_workflow_has_jobs_for_the_chosen_parts_only() {
    let [kubernetes, docker, none] = ["kubernetes", "docker", "none"].map(Deployed::by);
    let jobs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let checks: BTreeSet<String> = jobs(&["lints", "check", "dependencies"]);
    let builds = &checks | &jobs(&["image"]);
    assert_eq!(kubernetes.jobs("ci"), builds);
    assert_eq!(docker.jobs("ci"), builds);
    assert_eq!(none.jobs("ci"), checks);
    let ships = jobs(&["test", "image", "publish"]);
    assert_eq!(kubernetes.jobs("release"), &ships | &jobs(&["overlay"]));
    assert_eq!(docker.jobs("release"), ships);
    let reports = jobs(&["advisories", "doctor", "report"]);
    let scans = &reports | &jobs(&["image"]);
    assert_eq!(kubernetes.jobs("nightly"), scans);
    assert_eq!(docker.jobs("nightly"), scans);
    assert_eq!(none.jobs("nightly"), reports);
    assert_eq!(
        none.stems(".github/workflows", ".yml"),
        ["ci", "nightly"].map(str::to_owned).into()
    );

    let updated = |service: &Deployed| {
        let dependabot = service.yaml(".github/dependabot.yml");
        dependabot["updates"].as_array().expect("updates").len()
    };
    assert_eq!([&kubernetes, &docker, &none].map(updated), [4, 4, 2]);
    // The commands of the default service are run, in this folder and in tests/images, so no command is untested.
    let tried = kubernetes.commands();
    assert!(tried.contains("cargo chassis check"));
    for service in [docker, none] {
        let untried: Vec<String> = service.commands().difference(&tried).cloned().collect();
        assert_eq!(untried, [""; 0]);
    }
}

#[test]
fn compose_mounts_existing_files_and_scrapes_the_service_of_rules_and_dashboard() {
    for (deploy, rules, dashboard) in [
        (
            "kubernetes",
            "k8s/components/alerts/alerts.yaml",
            "k8s/components/dashboard/dashboard.json",
        ),
        (
            "docker",
            "compose/alerts.yaml",
            "compose/grafana/dashboard.json",
        ),
    ] {
        let service = Deployed::by(deploy);
        let compose = service.yaml("docker-compose.yml");
        let services = compose["services"].as_object().expect("services").values();
        let mounted: Vec<PathBuf> = services
            .flat_map(|service| service["volumes"].as_array().into_iter().flatten())
            .filter_map(|volume| volume.as_str()?.strip_prefix("./")?.split(':').next())
            .map(PathBuf::from)
            .collect();
        assert_eq!(mounted.len(), 4, "{mounted:?}");
        for path in [rules, dashboard].map(Path::new) {
            assert!(mounted.iter().any(|mounted| mounted == path), "{mounted:?}");
        }
        for path in mounted {
            assert!(service.folder.join(&path).exists(), "{}", path.display());
        }

        let prometheus = service.yaml("compose/prometheus.yml");
        let scraped = prometheus["scrape_configs"][0]["job_name"].as_str();
        assert_eq!(scraped, Some(NAME), "{deploy}");
        let asked = service.named_in_rules(rules, "job=\"", '"');
        assert_eq!(asked, [NAME.to_owned()].into(), "{deploy}");
        // Grafana's own, copied.
        let copied = fs::read(service.folder.join(dashboard)).expect("a file");
        let source = root().join("template/k8s/components/dashboard/dashboard.json");
        assert!(copied == fs::read(source).expect("a file"), "{deploy}");
    }
}

#[test]
fn every_alert_of_docker_has_a_runbook_and_every_runbook_an_alert() {
    let service = Deployed::by("docker");
    let rules = service.yaml("compose/alerts.yaml");
    let groups = rules["groups"].as_array().expect("groups").iter();
    let mut alerts = BTreeSet::new();
    for rule in groups.flat_map(|group| group["rules"].as_array().expect("rules")) {
        if let Some(alert) = rule["alert"].as_str() {
            let page = format!("/docs/runbooks/{alert}.md");
            let url = rule["annotations"]["runbook_url"].as_str();
            assert!(url.is_some_and(|url| url.ends_with(&page)), "{url:?}");
            alerts.insert(alert.to_owned());
        }
    }
    assert_eq!(service.stems("docs/runbooks", ".md"), alerts);
    assert!(!alerts.contains("MixedVersions"), "{alerts:?}");
    for alert in &alerts {
        let page = service.read(&format!("docs/runbooks/{alert}.md"));
        for link in page.split("](").skip(1) {
            let target = link.split(".md)").next().expect("a link");
            assert!(alerts.contains(target), "{alert}: {target}");
        }
        let parts = [
            "\n\n**Users feel**: ",
            "\n\n**Look first**:\n\n```sh\n",
            "\n```\n\nOn the dashboard: ",
            "\n\n**What helps**\n\n- ",
            "\n\n**What not to do**: ",
        ];
        for part in parts {
            assert_eq!(page.matches(part).count(), 1, "{part}: {page}");
        }
    }
}

#[test]
#[ignore = "needs promtool and check-jsonschema"]
fn rules_settings_compose_file_and_workflows_are_valid_for_their_tools() {
    let docker = Deployed::by("docker");
    let passes = |service: &Deployed, program: &str, arguments: &[&str]| {
        let mut program = Command::new(program);
        succeed(program.args(arguments).current_dir(&service.folder));
    };
    for arguments in [
        ["check", "rules", "--lint-fatal", "compose/alerts.yaml"],
        ["check", "config", "--syntax-only", "compose/prometheus.yml"],
    ] {
        passes(&docker, "promtool", &arguments);
    }
    let schema = |service: &Deployed, name: &str, file: &str| {
        let name = format!("vendor.{name}");
        passes(
            service,
            "check-jsonschema",
            &["--builtin-schema", &name, file],
        );
    };
    schema(&docker, "compose-spec", "docker-compose.yml");
    for service in [docker, Deployed::by("none"), Deployed::by("kubernetes")] {
        schema(&service, "dependabot", ".github/dependabot.yml");
        for name in service.stems(".github/workflows", ".yml") {
            let file = format!(".github/workflows/{name}.yml");
            schema(&service, "github-workflows", &file);
        }
    }
}
