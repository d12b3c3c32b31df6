//! `cargo chassis add images kubernetes`: adds single parts of the template to an existing Cargo project.

mod project;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use project::Project;
use serde_json::json;

use crate::archive::Archive;
use crate::embedded;
use crate::outcome::Outcome;
use crate::status::status;
use crate::template::{Answers, Template};

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The parts to add
    #[arg(required = true)]
    assets: Vec<Asset>,

    /// Overrides what is read from the project: package=NAME, bin=NAME or port=NUMBER; can be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    define: Vec<String>,

    /// Replaces existing files
    #[arg(long)]
    force: bool,

    /// Writes nothing; lists the files
    #[arg(long)]
    dry_run: bool,

    /// Prints a JSON report to stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Asset {
    /// Dockerfile, Dockerfile.distroless, .dockerignore
    Images,
    /// k8s/, scripts/ and docs/runbooks/
    Kubernetes,
    /// docker-compose.yml: the service with Prometheus and Grafana; docs/runbooks/
    Compose,
    /// .github/ and deny.toml
    Ci,
}

/// The settings files that the ConfigMap is generated from; each has to exist.
const SETTINGS: [&str; 2] = ["config/default.toml", "config/production.toml"];

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let project = Project::around(&std::env::current_dir()?, &args.define)?;
    status("Found", &project);

    let assets: BTreeSet<Asset> = args.assets.into_iter().collect();
    let there = |path: &Path| project.root.join(path).symlink_metadata().is_ok();
    let manifests = assets.contains(&Asset::Kubernetes) || there(Path::new("k8s"));

    let scratch = tempfile::tempdir()?;
    let current = embedded::current()?;
    let port = project.port.number.to_string();
    let answers = [
        ("chassis", "registry"),
        ("workspace", "own"),
        ("added", "yes"),
        ("deploy", if manifests { "kubernetes" } else { "docker" }),
        ("on_chassis", if project.on_chassis { "yes" } else { "no" }),
        ("port", &port),
    ];
    let answers = Answers::from(answers.map(|(name, answer)| (name.into(), answer.into())));
    let rendered = Template::read(&current)?.render(scratch.path(), &project.bin, &answers)?;
    let mut files = Archive::default();
    let parts = assets.iter().flat_map(|asset| asset.files());
    // Without Kubernetes manifests, the alert rules and the dashboard are in compose/.
    for part in parts.filter(|part| manifests || !part.starts_with("k8s")) {
        files
            .add(&rendered.join(part), part)
            .with_context(|| format!("the template has no {part}"))?;
    }
    if assets.contains(&Asset::Kubernetes) {
        for file in SETTINGS
            .into_iter()
            .filter(|file| !project.root.join(file).exists())
        {
            let text = "# The cluster mounts this folder, read-only, at /app/config.\n";
            files.insert(file, text.into());
        }
    }
    // The template assumes that the package has the same name as its binary, so the package's actual name is filled in.
    let [expected, actual] =
        [&project.bin, &project.package].map(|name| format!("ARG PACKAGE={name} "));
    for dockerfile in ["Dockerfile", "Dockerfile.distroless"] {
        files.edit(dockerfile, |text| text.replace(&expected, &actual));
    }

    let (kept, new): (Vec<PathBuf>, Vec<PathBuf>) = files
        .paths()
        .map(Path::to_owned)
        .partition(|path| there(path) && !args.force);
    for path in &kept {
        files.remove(path);
    }
    if !args.dry_run {
        files
            .unpack("", &project.root)
            .with_context(|| format!("cannot write to {}", project.root.display()))?;
    }
    for path in &new {
        let verb = if args.dry_run { "Would add" } else { "Added" };
        status(verb, path.display());
    }
    for path in &kept {
        status(
            "Kept",
            format_args!("{}: it already exists; --force replaces it", path.display()),
        );
    }
    let next = assets.into_iter().flat_map(|asset| asset.next(&project));
    let next: Vec<String> = next.collect();
    for line in &next {
        status("Next", line);
    }
    Ok(Outcome::success(json!({
        "dry_run": args.dry_run,
        "root": project.root,
        "package": project.package,
        "bin": project.bin,
        "port": project.port.number,
        "added": new,
        "kept": kept,
        "next": next,
    })))
}

impl Asset {
    /// The files and folders of this part in a generated service.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Images => &["Dockerfile", "Dockerfile.distroless", ".dockerignore"],
            Self::Kubernetes => &[
                "k8s",
                "scripts",
                "docs/runbooks",
                "config/kustomization.yaml",
            ],
            // Compose builds the image from the Dockerfile, and has the same alerts and dashboard as a cluster. The
            // alerts link to the runbooks.
            Self::Compose => &[
                "docker-compose.yml",
                "compose",
                "docs/runbooks",
                "k8s/components/alerts",
                "k8s/components/dashboard",
                "Dockerfile",
                "Dockerfile.distroless",
                ".dockerignore",
            ],
            Self::Ci => &[".github", "deny.toml"],
        }
    }

    /// The steps that remain for the user.
    fn next(self, project: &Project) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            Self::Images => {
                if !fs::exists(project.root.join("Cargo.lock")).unwrap_or_default() {
                    lines.push("cargo generate-lockfile, and commit Cargo.lock: images are built with --locked".to_owned());
                }
                lines.push(format!("docker build --tag {} .", project.bin));
            }
            Self::Kubernetes => {
                lines.push("edit the manifests as k8s/README.md describes; kubectl kustomize k8s/overlays/dev renders them".to_owned());
                if project.on_chassis {
                    lines.push("cargo chassis check".to_owned());
                } else {
                    lines.push(format!(
                        "run cargo chassis check: {} does not use axum-chassis, so its health routes, metrics and settings \
                         may differ from those in the manifests",
                        project.bin
                    ));
                }
            }
            Self::Compose => {
                if !project.on_chassis {
                    lines.push(
                        "compose/prometheus.yml: set the address of the service's metrics, if it has any; rules and dashboard \
                         query those of axum-chassis"
                            .to_owned(),
                    );
                }
                lines.push("docker compose up --build".to_owned());
            }
            Self::Ci => {
                if !fs::exists(project.root.join("Dockerfile.distroless")).unwrap_or_default() {
                    lines.push("cargo chassis add images: the workflow builds them".to_owned());
                }
                lines.push("read .github/workflows/ci.yml, and commit it".to_owned());
            }
        }
        lines
    }
}
