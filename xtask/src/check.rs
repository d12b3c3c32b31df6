//! `cargo xtask check`: `chassis-check` with this repository's manifests and example service.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use chassis_check::Check;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Holds `base` and `overlays`
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s"))]
    manifests: PathBuf,
    /// The service to hold them against [default: the example service, built now]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Files that stand in for `/var/secrets`, if the service needs some to start
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Looks at this overlay alone, such as `overlays/production`; may be given again
    #[arg(long, value_name = "OVERLAY")]
    only: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let binary = match args.binary {
        Some(binary) => binary,
        None => build()?,
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
    ensure!(faults.is_empty(), "faults: {}", faults.len());
    println!("{} agree with the binary", check.overlays()?.join(", "));
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--package",
            "axum-chassis",
            "--example",
            "service",
        ])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the example service does not build");
    Ok(target.join("debug/examples/service"))
}
