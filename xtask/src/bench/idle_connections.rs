//! Measures the latency of requests next to thousands of idle and slow connections.

use std::fmt::Write as _;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::RATE;
use super::load::{self, Connection};
use super::programs::{BARE, CHASSIS, Conditions, Program, Running};
use super::table::median;
use crate::tools::succeed;

const IDLE: usize = 10_000;
const SLOW: usize = 1_000;
/// The maximum number of connections: idle ones, slow ones, and up to 100 whose requests are timed.
const CONNECTIONS: usize = IDLE + SLOW + 100;
/// The body of each slow client, which sends one piece a second.
const ORDER: [&str; 10] = [
    "{\"id", "\":7,", "\"ite", "m\":\"", "teap", "ot\",", "\"pie", "ces\"", ":1", "}",
];
const PROBES: usize = 200;

/// A table of measurements without and with the idle and slow connections. Fails if one of their requests gets no
/// response.
pub(super) fn measure() -> Result<String> {
    may_open(CONNECTIONS)?;
    let server = start(CHASSIS)?;
    let alone = Moment::of(&server)?;
    let mut idle = connect(&server, IDLE)?;
    ask_all(&mut idle)?;
    let idle_mb = server.memory()?.0 - alone.memory_mb;
    let slow = connect(&server, SLOW)?;
    let slow = thread::spawn(|| dribble(slow));
    let crowded = Moment::of(&server)?;
    slow.join().ok().context("the slow clients panicked")??;
    ask_all(&mut idle)?;

    let mut out =
        String::from("| | alone | with the idle and slow connections |\n|---|---:|---:|\n");
    type Of = fn(&Moment) -> f64;
    let rows: [(&str, &str, usize, Of); 4] = [
        ("memory", "MB", 1, |it| it.memory_mb),
        ("p99 of 2,000 requests a second", "ms", 2, |it| it.p99_ms),
        ("a readiness probe, median", "ms", 2, |it| it.probe_ms),
        ("the slowest of 200 probes", "ms", 1, |it| {
            it.slowest_probe_ms
        }),
    ];
    for (name, unit, decimals, of) in rows {
        let (alone, crowded) = (of(&alone), of(&crowded));
        writeln!(
            out,
            "| {name} | {alone:.decimals$} {unit} | {crowded:.decimals$} {unit} |"
        )?;
    }
    drop((idle, server));
    let each = |megabytes: f64| megabytes * 1024.0 / IDLE as f64;
    let (ours, bare) = (each(idle_mb), each(idle_mb_of_bare_axum()?));
    writeln!(
        out,
        "\nAn idle connection takes {ours:.1} kB; with bare axum, {bare:.1} kB."
    )?;
    Ok(out)
}

fn idle_mb_of_bare_axum() -> Result<f64> {
    let server = start(BARE)?;
    load::at_rate(server.address, RATE, Duration::from_secs(5))?;
    let alone = server.memory()?.0;
    let mut idle = connect(&server, IDLE)?;
    ask_all(&mut idle)?;
    Ok(server.memory()?.0 - alone)
}

fn start(program: Program) -> Result<Running> {
    program.build()?;
    program.serve(Conditions {
        connections: CONNECTIONS,
        ..Conditions::default()
    })
}

fn connect(server: &Running, number: usize) -> Result<Vec<Connection>> {
    (0..number)
        .map(|_| Connection::open(server.address))
        .collect()
}

/// The server's memory, and the latency of active clients and of probes.
struct Moment {
    memory_mb: f64,
    p99_ms: f64,
    probe_ms: f64,
    slowest_probe_ms: f64,
}

// === impl Moment ===

impl Moment {
    /// Fails if a request or a probe is not answered.
    fn of(server: &Running) -> Result<Self> {
        let p99 = load::at_rate(server.address, RATE, Duration::from_secs(5))?;
        let mut probes = Vec::new();
        for _ in 0..PROBES {
            let began = Instant::now();
            server.admin("/health/readiness")?;
            probes.push(began.elapsed().as_secs_f64() * 1e3);
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            memory_mb: server.memory()?.0,
            p99_ms: p99.as_secs_f64() * 1e3,
            probe_ms: median(&probes),
            slowest_probe_ms: probes.into_iter().fold(0.0, f64::max),
        })
    }
}

/// Sends a request on each connection. Fails if one is not answered.
fn ask_all(connections: &mut [Connection]) -> Result<()> {
    let mut all = connections.iter_mut();
    all.try_for_each(|connection| connection.ask("/"))
}

/// Sends an order on each connection, one piece a second. Fails if an order is not accepted.
fn dribble(mut clients: Vec<Connection>) -> Result<()> {
    let length: usize = ORDER.iter().map(|piece| piece.len()).sum();
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    for piece in [head.as_str()].into_iter().chain(ORDER) {
        for client in &mut clients {
            client.send(piece)?;
        }
        thread::sleep(Duration::from_secs(1));
    }
    clients.iter_mut().try_for_each(|client| client.answer(201))
}

/// Raises the limit of open files, so that this process and those that it starts can have this many connections.
fn may_open(connections: usize) -> Result<()> {
    let (process, files) = (process::id().to_string(), connections + 100);
    let limit = format!("--nofile={files}:");
    succeed(Command::new("prlimit").args(["--pid", &process, &limit]))?;
    Ok(())
}
