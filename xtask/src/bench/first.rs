//! The time that README's first command takes, here and in an earlier revision.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::programs::root;
use super::table::median;
use crate::tools::{cargo, succeed};

/// The unit of the times in `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// From the start of the command until the service is ready.
struct Start {
    seconds: f64,
    /// User and system time of the command and of all compilers that it ran.
    cpu_seconds: f64,
}

/// Compares the last commit with an earlier revision. The two take turns, each with an empty cargo home and target folder.
/// Downloads are part of the time.
pub(super) fn measure(earlier: &str, rounds: usize) -> Result<String> {
    let short = |revision: &str| {
        let mut git = Command::new("git");
        git.current_dir(root()).args(["rev-parse", "--short"]);
        let hash = succeed(git.arg(format!("{revision}^{{commit}}")))?;
        anyhow::Ok(hash.trim().to_owned())
    };
    let (here, then) = (short("HEAD")?, short(earlier)?);
    let mut starts: [Vec<Start>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (revision, starts) in [&here, &then].into_iter().zip(&mut starts) {
            let start = start(revision).with_context(|| revision.clone())?;
            eprintln!(
                "round {round}: {revision} was ready after {:.1} s, with {:.1} s of CPU time",
                start.seconds, start.cpu_seconds
            );
            starts.push(start);
        }
    }
    let row = |name: &str, of: fn(&Start) -> f64| {
        let [ours, theirs] = starts
            .each_ref()
            .map(|starts| starts.iter().map(of).collect::<Vec<_>>());
        let ratios: Vec<f64> = ours
            .iter()
            .zip(&theirs)
            .map(|(our, their)| our / their)
            .collect();
        let [ours, theirs, ratio] = [ours, theirs, ratios].map(|values| median(&values));
        format!("| {name} | {ours:.1} s | {theirs:.1} s | {ratio:.2} |\n")
    };
    Ok(format!(
        "Medians of {rounds} rounds:\n\n| | {here} | {then} ({earlier}) | ratio within a round |\n|---|---:|---:|---:|\n{}{}",
        row("until the service is ready", |start| start.seconds),
        row("CPU time until then", |start| start.cpu_seconds),
    ))
}

/// Runs the command in a clone at this revision, and stops the service once it is ready.
fn start(revision: &str) -> Result<Start> {
    let place = tempfile::tempdir()?;
    let checkout = place.path().join("axum-chassis");
    let git = |folder: &Path, arguments: &[&str]| {
        succeed(Command::new("git").current_dir(folder).args(arguments))
    };
    git(
        &root(),
        &[
            "clone",
            "--quiet",
            "--no-checkout",
            ".",
            &checkout.to_string_lossy(),
        ],
    )?;
    git(&checkout, &["checkout", "--quiet", revision])?;

    let mut first = cargo(&checkout);
    // These variables change builds, such as a profile or a target folder.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO") {
            first.env_remove(name);
        }
    }
    let began = Instant::now();
    let mut child = first
        .args(["chassis", "new", "../orders", "--run"])
        .env("CARGO_HOME", place.path().join("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_child(&child);
    let mut seen = String::new();
    for line in BufReader::new(child.stderr.take().context("a pipe")?).lines() {
        let line = line?;
        if line.trim_start().starts_with("Ready ") {
            let seconds = began.elapsed().as_secs_f64();
            let cpu_seconds = cpu_seconds(pid)?;
            kill_process(pid, Signal::INT)?;
            ensure!(child.wait()?.success(), "the service did not stop");
            return Ok(Start {
                seconds,
                cpu_seconds,
            });
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    bail!("ended with {} before it was ready:\n{seen}", child.wait()?);
}

/// The time of a process and of its children that have ended. cargo runs a program in its own place, so that the compilers
/// are children of the same process.
fn cpu_seconds(pid: Pid) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // The second field, the name in brackets, can have spaces. utime, stime, cutime and cstime are fields 14 to 17.
    let (_, fields) = stat.rsplit_once(") ").context("a name")?;
    let times = fields.split(' ').skip(11).take(4);
    let ticks: Vec<f64> = times.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
