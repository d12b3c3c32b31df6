//! Developer commands: `cargo xtask new|sync|check|bench`.

mod bench;
mod check;
mod new;
mod sync;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates a service from this checkout, builds it and, on request, runs it.
    New(new::Args),
    /// Writes the files that are copies of, or derived from, other files here.
    Sync(sync::Args),
    /// Proves that manifests, image and binary agree.
    Check(check::Args),
    /// Measures what the chassis costs.
    Bench(bench::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::New(args) => new::run(args),
        Command::Sync(args) => sync::run(args),
        Command::Check(args) => check::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
