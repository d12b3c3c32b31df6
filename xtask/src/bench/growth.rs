//! Measures how the cost of a request grows with routes, connections and series, compared with bare axum.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;

use super::load::{self, Load};
use super::programs::{BARE, BARE_HTTP2, CHASSIS, Conditions, HAND, Program, root};
use super::table::{median, number};

/// The load of one measurement. Most cases come in pairs: a quantity is small in the first one and large in the second.
#[derive(Clone, Copy)]
struct Case {
    what: &'static str,
    /// The program that the chassis is compared with.
    other: Program,
    connections: usize,
    extra_routes: usize,
    traffic: Traffic,
}

#[derive(Clone, Copy)]
enum Traffic {
    /// Requests for one path.
    Path(&'static str),
    /// Requests that a Lua script in `bench/` creates.
    Script(&'static str),
    /// Requests for one path over HTTP/2, 64 at a time on each connection.
    Http2,
}

const CASE: Case = Case {
    what: "",
    other: BARE,
    connections: 64,
    extra_routes: 0,
    traffic: Traffic::Path(load::PATH),
};

const CASES: [Case; 9] = [
    Case {
        what: "9 routes",
        ..CASE
    },
    Case {
        what: "1,009 routes",
        extra_routes: 1000,
        ..CASE
    },
    Case {
        what: "8 connections",
        connections: 8,
        ..CASE
    },
    Case {
        what: "5,000 connections, their setup included",
        connections: 5000,
        ..CASE
    },
    Case {
        what: "1 (route, method, status)",
        ..CASE
    },
    Case {
        what: "64 (route, method, status)",
        traffic: Traffic::Script("mixed.lua"),
        ..CASE
    },
    Case {
        what: "HTTP/2, 8 connections with 64 streams each",
        other: BARE_HTTP2,
        connections: 8,
        traffic: Traffic::Http2,
        ..CASE
    },
    Case {
        what: "responses of 1 MB",
        traffic: Traffic::Path("/large"),
        ..CASE
    },
    Case {
        what: "request bodies of 1 MB",
        traffic: Traffic::Script("upload.lua"),
        ..CASE
    },
];

/// Each request logs 100 lines at the level `debug`. Bare axum writes no logs.
const LINES: Case = Case {
    what: "100 log lines in each request",
    other: HAND,
    traffic: Traffic::Path("/lines"),
    ..CASE
};
const LINES_FILTER: &str = "info,routes=debug";

/// A table of CPU microseconds a request in each case, and the time of small and large scrapes.
pub(super) fn measure(rounds: usize, seconds: u64) -> Result<String> {
    for program in [BARE, BARE_HTTP2, HAND, CHASSIS] {
        program.build()?;
    }
    let mut out = format!(
        "Server CPU per request, medians of {rounds} rounds of {seconds} s:\n\n\
         | | bare axum | chassis | ratio |\n|---|---:|---:|---:|\n"
    );
    for case in &CASES {
        case.measure(&mut out, rounds, seconds, None)?;
    }
    out.push_str("\n| | hand-assembled | chassis | ratio |\n|---|---:|---:|---:|\n");
    LINES.measure(&mut out, rounds, seconds, Some(LINES_FILTER))?;
    out.push_str(&scrapes()?);
    Ok(out)
}

// === impl Case ===

impl Case {
    /// Writes a row of the table.
    fn measure(
        &self,
        out: &mut String,
        rounds: usize,
        seconds: u64,
        filter: Option<&'static str>,
    ) -> Result<()> {
        eprintln!("growth: {}", self.what);
        let (mut others, mut chassis, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let one = self.cost(self.other, seconds, filter)?;
            let two = self.cost(CHASSIS, seconds, filter)?;
            others.push(one);
            chassis.push(two);
            ratios.push(two / one);
        }
        let [other, chassis, ratio] = [others, chassis, ratios].map(|values| median(&values));
        let what = self.what;
        writeln!(
            out,
            "| {what} | {other:.2} µs | {chassis:.2} µs | {ratio:.2} |"
        )?;
        Ok(())
    }

    fn cost(&self, program: Program, seconds: u64, filter: Option<&'static str>) -> Result<f64> {
        let server = program.serve(Conditions {
            extra_routes: self.extra_routes,
            // Twice as many, because those of the first second may still be closing.
            connections: 2 * self.connections,
            filter,
            ..Conditions::default()
        })?;
        // A first second of load is not measured: the server reaches this number of connections for the first time.
        self.load(server.address, 1)?;
        let before = server.cpu()?;
        let requests = self.load(server.address, seconds)?;
        Ok((server.cpu()? - before) / requests * 1e6)
    }

    /// Returns the number of requests.
    fn load(&self, address: SocketAddr, seconds: u64) -> Result<f64> {
        let (path, script) = match self.traffic {
            Traffic::Http2 => return load::saturate_http2(address, self.connections, seconds),
            Traffic::Path(path) => (path, None),
            Traffic::Script(name) => (load::PATH, Some(root().join("bench").join(name))),
        };
        let load = Load {
            connections: self.connections,
            seconds,
            path,
            script: script.as_deref(),
            shares_processors: false,
        };
        Ok(load::saturate(address, &load)?.0)
    }
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
