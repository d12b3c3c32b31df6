//! `cargo chassis check`: compares manifests, image, alerts and dashboards with the binary.
//!
//! Each overlay is rendered as `kubectl apply -k` would, and compared with the output of the binary: the effective settings
//! of the overlay (`--check-config`, `--print-config`), the existing settings (`--config-schema`), the responses of its
//! listeners, and a live scrape.
//!
//! - [`Check`]: the inputs; [`Check::run`] returns the [`Fault`]s
//! - `render`: overlays as lists of resources, each with its file
//! - `binary`: the binary's words
//! - `promql`: which metrics and labels a query names
//! - `rules`: what must hold, one file a subject
//!
//! ```no_run
//! let faults = cargo_chassis::Check::new("k8s", "target/release/orders").run()?;
//! for fault in &faults {
//!     eprintln!("{fault}");
//! }
//! # anyhow::Ok(())
//! ```

mod binary;
mod fault;
mod promql;
mod render;
mod rules;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
pub use fault::Fault;

use crate::cargo::cargo;

/// Its flags.
#[derive(clap::Args)]
pub struct Args {
    /// Holds `base` and `overlays`; Dockerfiles are looked for beside it
    #[arg(long, value_name = "DIR", default_value = "k8s")]
    manifests: PathBuf,
    /// The service, built [default: what `cargo build` makes here]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Builds and takes this example instead of the program
    #[arg(long, value_name = "NAME", conflicts_with = "binary")]
    example: Option<String>,
    /// Files that stand in for /var/secrets, if the service needs some to start
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Looks at this overlay alone, such as overlays/production; may be given again
    #[arg(long, value_name = "OVERLAY")]
    only: Vec<String>,
}

/// A comparison of manifests with a binary.
#[derive(Clone, Debug)]
pub struct Check {
    manifests: PathBuf,
    binary: PathBuf,
    dockerfiles: Vec<PathBuf>,
    secrets: Option<PathBuf>,
    only: Vec<String>,
}

impl Check {
    /// `manifests` holds `base` and `overlays`; the `Dockerfile*` of the folder above it are held against them too.
    pub fn new(manifests: impl Into<PathBuf>, binary: impl Into<PathBuf>) -> Self {
        let manifests = manifests.into();
        let dockerfiles = ["Dockerfile", "Dockerfile.distroless"]
            .map(|name| manifests.join("..").join(name))
            .into_iter()
            .filter(|file| file.is_file())
            .collect();
        Self {
            manifests,
            binary: binary.into(),
            dockerfiles,
            secrets: None,
            only: Vec::new(),
        }
    }

    /// A folder of files that stand in for the Secret at `/var/secrets`, for a service that needs some to start.
    pub fn secrets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.secrets = Some(folder.into());
        self
    }

    /// Looks at this overlay only, such as `overlays/production`; may be called again.
    pub fn only(mut self, overlay: impl Into<String>) -> Self {
        self.only.push(overlay.into());
        self
    }

    /// Every fault, none twice.
    ///
    /// # Errors
    ///
    /// If there is nothing to hold against each other: an overlay does not render, or the binary does not run.
    pub fn run(&self) -> anyhow::Result<Vec<Fault>> {
        let overlays = render::overlays(&self.manifests, &self.only)?;
        let binary = binary::Binary::new(&self.binary, self.secrets.as_deref())?;
        if let Some(reason) = binary.foreign_binary() {
            eprintln!(
                "{} does not use axum-chassis ({reason}): its settings, routes and metrics are not checked\n",
                self.binary.display()
            );
        }
        let mut faults = fault::Faults::default();
        rules::apply(self, &overlays, &binary, &mut faults)?;
        Ok(faults.into_vec())
    }

    /// The overlays that [`Check::run`] looks at.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn overlays(&self) -> anyhow::Result<Vec<String>> {
        render::names(&self.manifests, &self.only)
    }

    fn manifests(&self) -> &Path {
        &self.manifests
    }

    fn dockerfiles(&self) -> &[PathBuf] {
        &self.dockerfiles
    }
}

/// Prints all faults; the exit code is 1 if there are any.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.manifests.is_dir(),
        "no manifests found in {}: set their folder with --manifests",
        args.manifests.display()
    );
    let binary = match args.binary {
        Some(binary) => binary,
        None => build(args.example.as_deref())?,
    };
    let mut check = Check::new(args.manifests, binary);
    if let Some(folder) = args.secrets {
        check = check.secrets(folder);
    }
    for overlay in args.only {
        check = check.only(overlay);
    }
    let faults = check.run()?;
    for fault in &faults {
        eprintln!("{fault}\n");
    }
    let warnings = faults.iter().filter(|fault| fault.warning).count();
    let faults = faults.len() - warnings;
    print!(
        "overlays checked: {}, faults: {faults}",
        check.overlays()?.len()
    );
    if warnings > 0 {
        print!(", warnings: {warnings}");
    }
    println!();
    Ok(ExitCode::from(u8::from(faults > 0)))
}

/// The program of the Cargo project around, built.
fn build(example: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo(Path::new("."));
    cargo.args([
        "build",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    if let Some(name) = example {
        cargo.args(["--example", name]);
    }
    let output = cargo
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the service does not build");
    let kind = if example.is_some() { "example" } else { "bin" };
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let built: Vec<PathBuf> = messages
        .filter_map(|message| serde_json::from_slice::<serde_json::Value>(message).ok())
        .filter(|message| message["target"]["kind"][0] == kind)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    match &built[..] {
        [binary] => Ok(binary.clone()),
        [] => bail!("`cargo build` builds no binary here; set one with --binary"),
        several => bail!(
            "`cargo build` builds several binaries here; choose one with --binary: {}",
            several
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}
