//! `cargo xtask footprint`: measures build time, crates and binary size for each answer to the template's questions,
//! and writes the table in bench/README.md.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Context;
use axum_chassis_testing::Program;
use stores::{Postgres, Redis};

use crate::blocks::write_measured;
use crate::tools::{build_tool, cargo, succeed};

/// The block of `bench/README.md` that this command writes.
pub(crate) const FOOTPRINT: &str = "footprint";
/// The answer of the default service, followed by answers that change the service.
const ANSWERS: [&str; 6] = [
    "database=none",
    "database=sqlite",
    "database=postgres",
    "redis=yes",
    "openapi=yes",
    "otlp=yes",
];

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let tool = build_tool()?;
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let mut table =
        String::from("| answer | to a first 200 | crates | binary |\n|---|---:|---:|---:|\n");
    for answer in ANSWERS {
        let row = footprint(answer, &tool, &postgres, &redis).context(answer)?;
        let default = if answer == ANSWERS[0] {
            ", the default"
        } else {
            ""
        };
        writeln!(table, "| `{answer}`{default} | {row} |")?;
    }
    write_measured(FOOTPRINT, &table)?;
    Ok(ExitCode::SUCCESS)
}

fn footprint(
    answer: &str,
    tool: &Path,
    postgres: &Postgres,
    redis: &Redis,
) -> anyhow::Result<String> {
    let place = tempfile::tempdir()?;
    let began = Instant::now();
    let mut new = Command::new(tool);
    new.current_dir(place.path());
    succeed(new.args(["new", "service", "--define", answer]))?;
    let folder = place.path().join("service");
    let program = Program::new(folder.join("target/debug/service"))
        .folder(&folder)
        .variable("REDIS_URL", redis.url());
    let program = match answer {
        "database=postgres" => program.variable("DATABASE_URL", postgres.url()),
        _ => program,
    };
    if answer == "database=postgres" {
        let migrated = program.clone().argument("migrate").output();
        anyhow::ensure!(migrated.code == Some(0), "{}", migrated.stdout);
    }
    let service = program.start();
    anyhow::ensure!(service.get("/orders").status == 200, "no 200");
    let seconds = began.elapsed().as_secs_f64();
    drop(service);

    let tree = [
        "tree",
        "--edges=normal,build",
        "--prefix=none",
        "--format={p}",
    ];
    let tree = succeed(cargo(&folder).args(tree))?;
    let crates: BTreeSet<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    succeed(cargo(&folder).args(["build", "--release", "--quiet"]))?;
    let binary = fs::metadata(folder.join("target/release/service"))?.len() as f64 / 1e6;
    // The service itself does not count.
    Ok(format!(
        "{seconds:.0} s | {} | {binary:.2} MB",
        crates.len() - 1
    ))
}
