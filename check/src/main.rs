//! `chassis-check`: see the library.

use std::path::PathBuf;
use std::process::ExitCode;

use chassis_check::Check;

const HELP: &str = "\
Proves that Kubernetes manifests, image, alerts and dashboards agree with the service's binary.

Usage: chassis-check --binary PATH [--manifests DIR] [--secrets DIR] [--only OVERLAY]...

  --binary PATH     the service, built
  --manifests DIR   holds base and overlays [default: k8s]; Dockerfiles are looked for beside it
  --secrets DIR     files that stand in for /var/secrets, if the service needs some to start
  --only OVERLAY    such as overlays/production; default: base and each overlay

Exit codes: 0 they agree, 1 they do not, 2 they cannot be compared. Needs kubectl.";

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chassis-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The number of faults.
fn run() -> anyhow::Result<usize> {
    use lexopt::prelude::*;

    let mut manifests = PathBuf::from("k8s");
    let mut binary = None;
    let mut secrets: Option<PathBuf> = None;
    let mut only = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("manifests") => manifests = arguments.value()?.into(),
            Long("binary") => binary = Some(PathBuf::from(arguments.value()?)),
            Long("secrets") => secrets = Some(arguments.value()?.into()),
            Long("only") => only.push(arguments.value()?.string()?),
            Short('h') | Long("help") => {
                println!("{HELP}");
                return Ok(0);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let binary = binary.ok_or_else(|| anyhow::anyhow!("--binary is missing; see --help"))?;
    let mut check = Check::new(manifests, binary);
    if let Some(folder) = secrets {
        check = check.secrets(folder);
    }
    for overlay in only {
        check = check.only(overlay);
    }
    let faults = check.run()?;
    for fault in &faults {
        eprintln!("{fault}\n");
    }
    println!(
        "overlays checked: {}, faults: {}",
        check.overlays()?.len(),
        faults.len()
    );
    Ok(faults.len())
}
