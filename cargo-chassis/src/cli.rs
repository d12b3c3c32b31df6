//! The command line: its words, and the exit codes 0 (done), 1 (there is something to do or to mend) and
//! 2 (it could not be tried).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{add, check, new, template, update, vendor};

/// Makes axum-chassis services, and looks after them.
#[derive(Parser)]
#[command(name = "cargo chassis", bin_name = "cargo chassis", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates a service, builds it and, on request, runs it
    New(new::Args),
    /// Adds images, manifests, compose or CI to the Cargo project around
    Add(add::Args),
    /// Brings the chassis that the service takes from elsewhere into its own folder, vendor/axum-chassis
    Vendor,
    /// Merges what the template has changed since it made the service around, as git merges
    Update(update::Args),
    /// Proves that manifests, image, alerts and dashboards agree with the service's binary
    Check(check::Args),
}

/// Does what the process was told.
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
        Command::Check(args) => check::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
