//! `cargo chassis check`: compares manifests, image, alerts and dashboards with the binary, with the crate
//! `cargo-chassis-check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use cargo_chassis_check::{Check, Fault};
use serde_json::{Value, json};

use crate::cargo::cargo;
use crate::outcome::Outcome;

/// The flags of `cargo chassis check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with `base` and `overlays`; Dockerfiles are expected next to it
    #[arg(long, value_name = "DIR", default_value = "k8s")]
    manifests: PathBuf,
    /// The service's executable [default: the one that `cargo build` builds here]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Builds and checks this example instead of the program
    #[arg(long, value_name = "NAME", conflicts_with = "binary")]
    example: Option<String>,
    /// A folder to use as /var/secrets, if the service needs secrets to start
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Checks only this overlay, such as overlays/production; repeat it for more overlays
    #[arg(long, value_name = "OVERLAY")]
    only: Vec<String>,
    /// Prints a JSON report to stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints all faults; the exit code is 1 if there are any.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
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
    let overlays = check.overlays()?.len();
    let (warnings, faults): (Vec<Fault>, Vec<Fault>) =
        faults.into_iter().partition(|fault| fault.warning);
    if !args.json {
        print!("overlays checked: {overlays}, faults: {}", faults.len());
        if !warnings.is_empty() {
            print!(", warnings: {}", warnings.len());
        }
        println!();
    }
    let listed = |faults: &[Fault]| faults.iter().map(report).collect::<Vec<_>>();
    Ok(Outcome {
        code: ExitCode::from(u8::from(!faults.is_empty())),
        report: json!({
            "overlays": overlays,
            "faults": listed(&faults),
            "warnings": listed(&warnings),
        }),
    })
}

fn report(fault: &Fault) -> Value {
    json!({
        "file": fault.file,
        "field": fault.field,
        "problem": fault.problem,
        "remedy": fault.remedy,
        "overlays": fault.overlays,
    })
}

/// Builds the program of the Cargo project in the current folder, and returns its path.
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
