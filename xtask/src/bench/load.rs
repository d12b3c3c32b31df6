//! Generates load: at the maximum rate, at a fixed rate, or one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::programs::on_processors;

/// The arguments of `wrk`.
pub(super) struct Load<'a> {
    pub(super) connections: usize,
    pub(super) seconds: u64,
    pub(super) path: &'static str,
    /// A Lua script that creates the requests. Without one, all requests are for `path`.
    pub(super) script: Option<&'a Path>,
    /// Two threads that run on the server's processors, instead of one thread on a processor of its own.
    pub(super) shares_processors: bool,
}

pub(super) const PATH: &str = "/orders/7";

/// Sends requests as fast as they are answered. Returns their number, and the time in seconds.
pub(super) fn saturate(address: SocketAddr, load: &Load<'_>) -> Result<(f64, f64)> {
    let (processors, threads) = match load.shares_processors {
        true => ("0,1", "--threads=2"),
        false => ("1", "--threads=1"),
    };
    let mut wrk = on_processors(processors);
    wrk.args(["wrk", threads, "--timeout=10s"])
        .arg(format!("--connections={}", load.connections))
        .arg(format!("--duration={}s", load.seconds));
    if let Some(script) = load.script {
        wrk.arg("--script").arg(script);
    }
    let output = wrk
        .arg(format!("http://{address}{}", load.path))
        .output()
        .context("`taskset` or `wrk` does not start")?;
    let text = String::from_utf8(output.stdout)?;
    // "  123456 requests in 4.00s, 20.1MB read"
    let line = text.lines().find(|line| line.contains(" requests in "));
    let mut words = line
        .with_context(|| format!("wrk says {text:?}"))?
        .split_whitespace();
    let requests: f64 = words.next().unwrap_or_default().parse()?;
    let time = words.nth(2).unwrap_or_default();
    let seconds: f64 = time.trim_end_matches([',', 's']).parse()?;
    ensure!(!text.contains("Socket errors"), "requests failed: {text}");
    ensure!(
        load.script.is_some() || !text.contains("Non-2xx"),
        "requests failed: {text}"
    );
    Ok((requests, seconds))
}

/// Sends requests over HTTP/2 as fast as they are answered, 64 at a time on each connection. Returns their number.
pub(super) fn saturate_http2(address: SocketAddr, connections: usize, seconds: u64) -> Result<f64> {
    let mut h2load = on_processors("1");
    h2load
        .args(["h2load", "--max-concurrent-streams=64"])
        .arg(format!("--clients={connections}"))
        .arg(format!("--duration={seconds}"))
        .arg(format!("http://{address}{PATH}"));
    let output = h2load.output().context("`h2load` does not start")?;
    let text = String::from_utf8(output.stdout)?;
    // "requests: 12345 total, 12345 started, 12345 done, 12345 succeeded, 0 failed, 0 errored, 0 timeout"
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("requests: "));
    let line = line.with_context(|| format!("h2load says {text:?}"))?;
    ensure!(
        line.contains(" 0 failed, 0 errored"),
        "requests failed: {line}"
    );
    let done = line
        .split(", ")
        .find_map(|part| part.strip_suffix(" succeeded"));
    Ok(done.context("succeeded")?.parse()?)
}

/// Sends `rate` requests a second for `duration`. Returns the 99th percentile of their latencies. Each latency counts
/// from the time at which the request was due.
pub(super) fn at_rate(address: SocketAddr, rate: u32, duration: Duration) -> Result<Duration> {
    const CONNECTIONS: u32 = 8;
    let began = Instant::now();
    let pause = Duration::from_secs(1) * CONNECTIONS / rate;
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|sender| {
            thread::spawn(move || -> Result<Vec<Duration>> {
                let mut connection = Connection::open(address)?;
                let mut latencies = Vec::new();
                let mut due = began + pause * sender / CONNECTIONS;
                while due < began + duration {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    connection.ask(PATH)?;
                    latencies.push(due.elapsed());
                    due += pause;
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for sender in senders {
        let sent = sender
            .join()
            .map_err(|_| anyhow::anyhow!("a sender panicked"))?;
        latencies.extend(sent?);
    }
    latencies.sort_unstable();
    let index = latencies.len() * 99 / 100;
    latencies.get(index).copied().context("no request was sent")
}

/// Sends requests one after the other on one connection.
pub(super) fn one_by_one(address: SocketAddr, requests: u32) -> Result<()> {
    let mut connection = Connection::open(address)?;
    (0..requests).try_for_each(|_| connection.ask(PATH))
}

/// Requests each path once.
pub(super) fn each_once(
    address: SocketAddr,
    mut paths: impl Iterator<Item = String>,
) -> Result<()> {
    let mut connection = Connection::open(address)?;
    paths.try_for_each(|path| connection.ask(&path))
}

/// A client that sends one request after the other.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Requests a path. Fails unless the status is 200.
    pub(super) fn ask(&mut self, path: &str) -> Result<()> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n"))?;
        self.answer(200)
    }

    /// Sends a request, or a part of one.
    pub(super) fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(text.as_bytes())?)
    }

    /// Reads a response. Fails unless it has this status.
    pub(super) fn answer(&mut self, status: u16) -> Result<()> {
        let mut length = 0;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let begin = format!("HTTP/1.1 {status} ");
        ensure!(line.starts_with(&begin), "the answer is {line:?}");
        while line.trim_end() != "" {
            line.clear();
            self.0.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(())
    }
}
