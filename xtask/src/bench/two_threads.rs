//! Measures the cost of a request to servers with two threads, while the load runs on the same two processors.

use anyhow::Result;

use super::load::{self, Load};
use super::programs::{Conditions, Program};
use super::table::{self, Row};
use super::{CPU, PROGRAMS};

/// The measurements of one program in one round.
struct SharedTurn {
    cpu_us: f64,
    rate: f64,
}

/// A table of CPU microseconds a request, and of requests a second.
pub(super) fn measure(rounds: usize, seconds: u64) -> Result<String> {
    for program in PROGRAMS {
        program.build()?;
    }
    let mut turns: Vec<Vec<SharedTurn>> = PROGRAMS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!("two threads: round {round} of {rounds}");
        for (program, turns) in PROGRAMS.iter().zip(&mut turns) {
            turns.push(SharedTurn::take(*program, seconds)?);
        }
    }
    let rows = [
        Row::of_turns(CPU, "µs", 2, &turns, |turn| turn.cpu_us).with_ratio(),
        Row::of_turns("requests a second", "", 0, &turns, |turn| turn.rate).with_ratio(),
    ];
    let table = table::render(&PROGRAMS, &rows);
    Ok(format!(
        "Medians of {rounds} rounds, with {seconds} s of load in each:\n\n{table}"
    ))
}

// === impl SharedTurn ===

impl SharedTurn {
    fn take(program: Program, seconds: u64) -> Result<Self> {
        let server = program.serve(Conditions {
            threads: 2,
            shares_processors: true,
            ..Conditions::default()
        })?;
        let load = |seconds| Load {
            connections: 64,
            seconds,
            path: load::PATH,
            script: None,
            shares_processors: true,
        };
        // A first second of load is not measured: it opens the connections.
        load::saturate(server.address, &load(1))?;
        let before = server.cpu()?;
        let (requests, took) = load::saturate(server.address, &load(seconds))?;
        Ok(Self {
            cpu_us: (server.cpu()? - before) / requests * 1e6,
            rate: requests / took,
        })
    }
}
