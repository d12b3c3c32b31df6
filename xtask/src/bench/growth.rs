//! Measures how the cost of a request grows with routes, connections and series, compared with bare axum.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use super::load::{self, Load};
use super::programs::{BARE, CHASSIS, Conditions, Program, root};
use super::table::{median, number};

/// The load of one measurement. The cases come in pairs: a quantity is small in the first one and large in the second.
struct Case {
    what: &'static str,
    connections: usize,
    extra_routes: usize,
    /// Requests to 64 combinations of route, method and status, instead of one.
    mixed: bool,
}

const CASES: [Case; 6] = [
    case("7 routes", 64, 0, false),
    case("1,007 routes", 64, 1000, false),
    case("8 connections", 8, 0, false),
    case("5,000 connections, their setup included", 5000, 0, false),
    case("1 (route, method, status)", 64, 0, false),
    case("64 (route, method, status)", 64, 0, true),
];

const fn case(what: &'static str, connections: usize, extra_routes: usize, mixed: bool) -> Case {
    Case {
        what,
        connections,
        extra_routes,
        mixed,
    }
}

/// A table of CPU microseconds a request in each case, and the time of small and large scrapes.
pub(super) fn measure(rounds: usize, seconds: u64) -> Result<String> {
    let mut out = format!(
        "Server CPU per request, medians of {rounds} rounds of {seconds} s:\n\n\
         | | bare axum | chassis | ratio |\n|---|---:|---:|---:|\n"
    );
    for case in &CASES {
        eprintln!("growth: {}", case.what);
        let (mut bare, mut chassis, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let one = case.cost(BARE, seconds)?;
            let other = case.cost(CHASSIS, seconds)?;
            bare.push(one);
            chassis.push(other);
            ratios.push(other / one);
        }
        let [bare, chassis, ratio] = [bare, chassis, ratios].map(|values| median(&values));
        writeln!(
            out,
            "| {} | {bare:.2} µs | {chassis:.2} µs | {ratio:.2} |",
            case.what
        )?;
    }
    out.push_str(&scrapes()?);
    Ok(out)
}

// === impl Case ===

impl Case {
    fn cost(&self, program: Program, seconds: u64) -> Result<f64> {
        let server = program.serve(Conditions {
            extra_routes: self.extra_routes,
            ..Conditions::default()
        })?;
        let script = script();
        let load = |seconds| Load {
            connections: self.connections,
            seconds,
            script: self.mixed.then_some(script.as_path()),
            shares_processors: false,
        };
        // A first second of load is not measured: the server reaches this number of connections for the first time.
        load::saturate(server.address, &load(1))?;
        let before = server.cpu()?;
        let (requests, _) = load::saturate(server.address, &load(seconds))?;
        Ok((server.cpu()? - before) / requests * 1e6)
    }
}

fn script() -> PathBuf {
    root().join("bench/mixed.lua")
}

/// The time of a scrape with few series and with many.
fn scrapes() -> Result<String> {
    let mut out = String::from("\n| series | time of a scrape |\n|---|---:|\n");
    for extra_routes in [0, 150] {
        let server = CHASSIS.serve(Conditions {
            extra_routes,
            ..Conditions::default()
        })?;
        load::each_once(
            server.address,
            (0..extra_routes).map(|route| format!("/extra/{route}/7")),
        )?;
        let scrapes = (0..20)
            .map(|_| server.scrape())
            .collect::<Result<Vec<_>>>()?;
        let times: Vec<f64> = scrapes
            .iter()
            .map(|(_, took)| took.as_secs_f64() * 1e3)
            .collect();
        let series = scrapes.first().map_or(0, |(series, _)| *series);
        writeln!(
            out,
            "| {} | {:.2} ms |",
            number(series as f64, 0),
            median(&times)
        )?;
    }
    Ok(out)
}
