//! Developer commands of this repository: `cargo xtask sync|bench|matrix|compilers|footprint|release|semver|maintained`.

mod bench;
mod blocks;
mod compilers;
mod footprint;
mod maintained;
mod matrix;
mod release;
mod semver;
mod sync;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the generated files and the copies of this repository.
    Sync(sync::Args),
    /// Measures what the chassis costs.
    Bench(bench::Args),
    /// Generates a service for every combination of the template's answers, and tests it.
    Matrix(matrix::Args),
    /// Compiles and tests this workspace and generated services with another Rust.
    Compilers(compilers::Args),
    /// Measures what each answer to the template's questions costs.
    Footprint,
    /// Archives the template and the crate of this version for `cargo chassis update`.
    Release(release::Args),
    /// Fails if the public API has a breaking change that the version does not allow.
    Semver,
    /// Fails when a dependency in docs/maintained.md is past its end of support.
    Maintained,
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Sync(args) => sync::run(args),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Matrix(args) => matrix::run(&args),
        Command::Compilers(args) => compilers::run(&args),
        Command::Footprint => footprint::run(),
        Command::Release(args) => release::run(&args),
        Command::Semver => semver::run().map(|()| ExitCode::SUCCESS),
        Command::Maintained => maintained::run().map(|()| ExitCode::SUCCESS),
    }
}

/// The root folder of this checkout.
fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}
