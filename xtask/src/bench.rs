//! `cargo xtask bench`: measures the cost of the chassis, compared with bare axum and a stack assembled by hand.
//!
//! Times vary on a shared machine. Everything is therefore measured in rounds, in which the programs take turns, and
//! reported as medians and as ratios within a round. The number of instructions is nearly the same in every run:
//! `--gate` compares only this number, with `bench/baseline`.

mod chart;
mod first;
mod growth;
mod idle_connections;
mod load;
mod page;
mod programs;
mod table;
mod two_threads;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::load::Load;
use self::programs::{BARE, CHASSIS, Conditions, Counted, HAND, Program, QUIET, root};
use self::table::{Row, median};
use crate::blocks::write_measured;

/// The names of the two rows whose ratios [`chart`] draws.
const CPU: &str = "server CPU a request";
const INSTRUCTIONS: &str = "instructions a request, in user space";
const PROGRAMS: [Program; 4] = [BARE, HAND, CHASSIS, QUIET];
/// The blocks of `bench/README.md` that these measurements write.
pub(crate) const RESULTS: &str = "results";
pub(crate) const TWO_THREADS: &str = "two-threads";
pub(crate) const GROWTH: &str = "growth";
pub(crate) const IDLE_CONNECTIONS: &str = "idle-connections";
pub(crate) const PAGE: &str = "page";
pub(crate) const PROFILES: &str = "profiles";
pub(crate) const FIRST: &str = "first-command";
/// The rate, in requests a second, at which latency is measured: well below the maximum of each program.
const RATE: u32 = 2000;

/// The flags of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Count the instructions of a request, and compare their ratio to bare axum with bench/baseline.
    #[arg(long)]
    gate: bool,
    /// Write the ratio that is found to bench/baseline.
    #[arg(long)]
    bless: bool,
    /// Measure only how the cost grows with routes, connections, series, streams, bodies and log lines.
    #[arg(long)]
    growth: bool,
    /// Compare only the release profiles of the chassis.
    #[arg(long)]
    profiles: bool,
    /// Measure only how ten thousand idle connections and a thousand slow ones affect other requests.
    #[arg(long)]
    idle_connections: bool,
    /// Measure only the cost of the admin page, which takes eleven minutes.
    #[arg(long)]
    page: bool,
    /// Measure only README's first command, and compare it with an earlier revision, such as v0.5.0.
    #[arg(long, value_name = "REVISION")]
    first: Option<String>,
    /// Measure only servers with two threads, on the processors that the load uses too.
    #[arg(long)]
    two_threads: bool,
    /// The number of turns of each program.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Seconds of load in each turn.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
}

pub(crate) fn run(args: Args) -> Result<()> {
    if args.gate || args.bless {
        return gate(args.bless);
    }
    if args.profiles {
        return write_measured(PROFILES, &profiles(&args)?);
    }
    if args.idle_connections {
        return write_measured(IDLE_CONNECTIONS, &idle_connections::measure()?);
    }
    if args.page {
        return write_measured(PAGE, &page::measure()?);
    }
    if let Some(earlier) = &args.first {
        return write_measured(FIRST, &first::measure(earlier, args.rounds.min(3))?);
    }
    if args.two_threads {
        return write_two_threads(&args);
    }
    if args.growth {
        let growth = growth::measure(args.rounds.min(5), args.seconds)?;
        return write_measured(GROWTH, &growth);
    }
    let turns = take_turns(&PROGRAMS, &args)?;
    let mut rows = vec![
        cpu(&turns).with_ratio(),
        rate(&turns),
        latency(&turns),
        start(&turns),
        idle_memory(&turns),
    ];
    for (name, counted) in [
        (INSTRUCTIONS, Counted::Instructions),
        ("allocations a request", Counted::Allocations),
    ] {
        eprintln!("counting {name}");
        rows.push(Row::per_program(name, "", 0, &PROGRAMS, |program| {
            a_request(program, counted)
        })?);
    }
    rows.push(sizes(&PROGRAMS)?);
    rows.push(Row::per_program("crates", "", 0, &PROGRAMS, |program| {
        Ok(program.crates()? as f64)
    })?);
    write_measured(RESULTS, &measured(&PROGRAMS, &rows, &args))?;
    write_two_threads(&args)?;
    println!("{}", lines()?);
    chart::write(&rows, &root().join("bench/chart.svg"))
}

fn write_two_threads(args: &Args) -> Result<()> {
    let table = two_threads::measure(args.rounds, args.seconds)?;
    write_measured(TWO_THREADS, &table)
}

/// A table of medians, preceded by the number of rounds.
fn measured(programs: &[Program], rows: &[Row], args: &Args) -> String {
    format!(
        "Medians of {} rounds, with {} s of load in each:\n\n{}",
        args.rounds,
        args.seconds,
        table::render(programs, rows)
    )
}

/// Compares the chassis as built with each of its release profiles.
fn profiles(args: &Args) -> Result<String> {
    const PROFILES: [Program; 3] = [
        CHASSIS.with_profile("release"),
        CHASSIS.with_profile("release-small"),
        CHASSIS.with_profile("profiling"),
    ];
    let turns = take_turns(&PROFILES, args)?;
    let rows = [
        sizes(&PROFILES)?,
        start(&turns),
        rate(&turns),
        idle_memory(&turns),
        Row::of_turns("peak memory", "MB", 1, &turns, |turn| turn.peak_mb),
    ];
    Ok(measured(&PROFILES, &rows, args))
}

fn sizes(programs: &[Program]) -> Result<Row> {
    Row::per_program("binary", "MB", 2, programs, |program| {
        Ok(std::fs::metadata(program.path())?.len() as f64 / 1e6)
    })
}

/// Builds the programs and measures them in turn. Returns the measurements of each program, one for each round.
fn take_turns(programs: &[Program], args: &Args) -> Result<Vec<Vec<Turn>>> {
    for program in programs {
        program.build()?;
    }
    let mut turns: Vec<Vec<Turn>> = programs.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (program, turns) in programs.iter().zip(&mut turns) {
            turns.push(Turn::take(*program, args.seconds)?);
        }
    }
    Ok(turns)
}

/// The measurements of one program in one round.
struct Turn {
    start_ms: f64,
    idle_mb: f64,
    peak_mb: f64,
    rate: f64,
    cpu_us: f64,
    p99_ms: f64,
}

// === impl Turn ===

impl Turn {
    fn take(program: Program, seconds: u64) -> Result<Self> {
        let server = program.start(Conditions::default())?;
        let start = server.first_answer()?;
        let (idle_mb, _) = server.memory()?;
        let p99 = load::at_rate(server.address, RATE, Duration::from_secs(2))?;
        let (rate, cpu_us) = saturated(&server, 64, seconds)?;
        let (_, peak_mb) = server.memory()?;
        Ok(Self {
            start_ms: start.as_secs_f64() * 1e3,
            idle_mb,
            peak_mb,
            rate,
            cpu_us,
            p99_ms: p99.as_secs_f64() * 1e3,
        })
    }
}

/// Sends as many requests as the server can answer. Returns requests a second, and CPU microseconds a request.
fn saturated(server: &programs::Running, connections: usize, seconds: u64) -> Result<(f64, f64)> {
    let load = Load {
        connections,
        seconds,
        path: load::PATH,
        script: None,
        shares_processors: false,
    };
    let before = server.cpu()?;
    let (requests, took) = load::saturate(server.address, &load)?;
    Ok((requests / took, (server.cpu()? - before) / requests * 1e6))
}

fn cpu(turns: &[Vec<Turn>]) -> Row {
    Row::of_turns(CPU, "µs", 2, turns, |turn| turn.cpu_us)
}

fn rate(turns: &[Vec<Turn>]) -> Row {
    Row::of_turns("requests a second on one core", "", 0, turns, |turn| {
        turn.rate
    })
}

fn latency(turns: &[Vec<Turn>]) -> Row {
    Row::of_turns("p99 at 2,000 requests a second", "ms", 2, turns, |turn| {
        turn.p99_ms
    })
}

fn start(turns: &[Vec<Turn>]) -> Row {
    Row::of_turns("start to first 200", "ms", 1, turns, |turn| turn.start_ms)
}

fn idle_memory(turns: &[Vec<Turn>]) -> Row {
    Row::of_turns("idle memory", "MB", 1, turns, |turn| turn.idle_mb)
}

/// The cost of one request: the difference between many requests and few.
fn a_request(program: Program, counted: Counted) -> Result<f64> {
    const FEW: u32 = 500;
    const MANY: u32 = 3500;
    let count = |requests| -> Result<f64> {
        let server = program.serve(Conditions {
            threads: 1,
            counted: Some(counted),
            ..Conditions::default()
        })?;
        load::one_by_one(server.address, requests)?;
        counted.total(&server.stop()?)
    };
    Ok((count(MANY)? - count(FEW)?) / f64::from(MANY - FEW))
}

/// The cost of a log line by itself.
fn lines() -> Result<String> {
    const LINES: u64 = 500_000;
    let nanoseconds = |program: Program| -> Result<f64> {
        let rounds: Vec<f64> = (0..3).map(|_| program.log(LINES)).collect::<Result<_>>()?;
        Ok(median(&rounds) / LINES as f64 * 1e9)
    };
    let (hand, chassis) = (nanoseconds(HAND)?, nanoseconds(CHASSIS)?);
    Ok(format!(
        "A log line with three fields in a span with two, CPU: {hand:.0} ns by tracing-subscriber's \
         JSON layer, {chassis:.0} ns by the chassis ({:.2}).",
        chassis / hand
    ))
}

/// Fails if the instructions of a request, divided by those of bare axum, are more than the baseline allows.
fn gate(bless: bool) -> Result<()> {
    /// The tolerance for changes by another compiler or libc.
    const MARGIN: f64 = 0.05;
    let baseline = root().join("bench/baseline");
    for program in [BARE, CHASSIS] {
        program.build()?;
    }
    let count = |program| a_request(program, Counted::Instructions);
    let (chassis, bare) = (count(CHASSIS)?, count(BARE)?);
    eprintln!("{chassis:.0} instructions a request, and {bare:.0} of bare axum");
    let ratio = chassis / bare;
    if bless {
        std::fs::write(&baseline, format!("{ratio:.3}\n"))?;
        println!("a request costs {ratio:.3} times bare axum's instructions: that is the baseline");
        return Ok(());
    }
    let text = std::fs::read_to_string(&baseline).context("bench/baseline; `--bless` writes it")?;
    let allowed = text.trim().parse::<f64>()? * (1.0 + MARGIN);
    println!("a request costs {ratio:.3} times bare axum's instructions; {allowed:.3} are allowed");
    ensure!(
        ratio <= allowed,
        "the request path has become more expensive; `cargo xtask bench --bless` accepts the new cost"
    );
    Ok(())
}
