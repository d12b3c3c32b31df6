//! The command line. Exit codes: 0, success; 1, there is something for the user to do, such as a fault that `check` found, an
//! available update or a merge conflict; 2, the command failed. With `--json`, stdout is one JSON document, also after an error.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

#[cfg(feature = "check")]
use crate::check;
use crate::outcome::Outcome;
use crate::{add, doctor, new, update, vendor};

/// Generates, checks and updates axum-chassis services.
#[derive(Parser)]
#[command(name = "cargo chassis", bin_name = "cargo chassis", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates a service, builds it and, with --run, starts it
    New(new::Args),
    /// Adds images, manifests, compose or CI to the Cargo project in this folder
    Add(add::Args),
    /// Copies the crate axum-chassis into the service's own folder, vendor/axum-chassis
    Vendor,
    /// Merges changes of the template into the service in this folder, with git
    Update(update::Args),
    /// Lists the parts of the project that are behind, and how to update them
    Doctor(doctor::Args),
    /// Compares manifests, image, alerts and dashboards with the service's binary
    #[cfg(feature = "check")]
    Check(check::Args),
}

/// Runs the command that this process's arguments name.
pub fn run() -> ExitCode {
    // Cargo calls `cargo-chassis chassis …`.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "chassis") {
        arguments.remove(1);
    }
    let command = Cli::parse_from(arguments).command;
    let json = command.json();
    let Outcome { code, report } = command.run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Outcome {
            code: ExitCode::from(2),
            report: json!({ "error": format!("{error:#}") }),
        }
    });
    if json {
        println!("{report:#}");
    }
    code
}

impl Command {
    /// Whether stdout is for the report.
    fn json(&self) -> bool {
        match self {
            Self::New(args) => args.json,
            Self::Add(args) => args.json,
            Self::Vendor => false,
            Self::Update(args) => args.json,
            Self::Doctor(args) => args.json,
            #[cfg(feature = "check")]
            Self::Check(args) => args.json,
        }
    }

    fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::New(args) => new::run(args),
            Self::Add(args) => add::run(args),
            Self::Vendor => vendor::run().map(Outcome::from),
            Self::Update(args) => update::run(args),
            Self::Doctor(args) => doctor::run(args),
            #[cfg(feature = "check")]
            Self::Check(args) => check::run(args),
        }
    }
}
