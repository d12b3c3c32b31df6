//! The command line. Exit codes: 0, success; 1, there is something for the user to do, such as a fault that `check` found, an
//! available update or a merge conflict; 2, the command failed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "check")]
use crate::check;
use crate::{add, doctor, new, template, update, vendor};

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
    if arguments
        .get(1)
        .is_some_and(|first| first == template::RENDER)
    {
        let rest: Vec<String> = std::env::args().skip(2).collect();
        return ExitCode::from(u8::from(!template::run_apart(&rest)));
    }
    let done = match Cli::parse_from(arguments).command {
        Command::New(args) => new::run(args),
        Command::Add(args) => add::run(args),
        Command::Vendor => vendor::run(),
        Command::Update(args) => update::run(args),
        Command::Doctor(args) => doctor::run(args),
        #[cfg(feature = "check")]
        Command::Check(args) => check::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
