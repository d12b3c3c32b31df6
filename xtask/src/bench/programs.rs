//! Builds and starts the programs that the benchmark compares.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// One of the programs of `bench/`, with its environment variables.
#[derive(Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    package: &'static str,
    binary: &'static str,
    features: &'static str,
    profile: &'static str,
    env: &'static [(&'static str, &'static str)],
}

pub(super) const BARE: Program = Program {
    name: "bare axum",
    package: "bare",
    binary: "bare",
    features: "",
    profile: "release",
    env: &[],
};
/// The same with HTTP/2.
pub(super) const BARE_HTTP2: Program = Program {
    binary: "bare-http2",
    features: "http2",
    ..BARE
};
pub(super) const HAND: Program = Program {
    name: "hand-assembled",
    package: "hand",
    binary: "hand",
    features: "",
    profile: "release",
    env: &[],
};
pub(super) const CHASSIS: Program = Program {
    name: "chassis",
    package: "chassis",
    binary: "chassis",
    features: "",
    profile: "release",
    env: &[],
};
pub(super) const QUIET: Program = Program {
    name: "chassis, no access log",
    package: "chassis",
    binary: "chassis",
    features: "",
    profile: "release",
    env: &[("APP__LOGS__ACCESS", "false")],
};

/// The conditions of a run.
#[derive(Clone, Copy, Default)]
pub(super) struct Conditions {
    /// The number of worker threads; 0 for the program's default.
    pub(super) threads: usize,
    /// Routes in addition to the requested ones.
    pub(super) extra_routes: usize,
    /// The maximum number of connections; 0 for the program's default.
    pub(super) connections: usize,
    /// The log filter; `None` for the program's default.
    pub(super) filter: Option<&'static str>,
    /// Runs the program on the processors that the load uses too.
    pub(super) shares_processors: bool,
    /// Runs the program under valgrind, which is slow, and counts these events.
    pub(super) counted: Option<Counted>,
}

/// The events that valgrind counts from a program's start to its end.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Instructions,
    Allocations,
}

/// A running program, which is killed when this value is dropped.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    started: Instant,
}

// === impl Program ===

impl Program {
    /// The same program, built with another profile and named after it.
    pub(super) const fn with_profile(self, profile: &'static str) -> Self {
        Self {
            name: profile,
            profile,
            ..self
        }
    }

    /// Builds the program on its own, so that no other program adds features to its crates.
    pub(super) fn build(self) -> Result<()> {
        let args = ["--profile", self.profile, "--package", self.package];
        let status = cargo()
            .arg("build")
            .args(args)
            .args(["--bin", self.binary, "--features", self.features])
            .status()?;
        ensure!(status.success(), "{} does not build", self.binary);
        Ok(())
    }

    pub(super) fn path(self) -> PathBuf {
        target().join(self.profile).join(self.binary)
    }

    /// The number of crates that the program is built from, without its own two.
    pub(super) fn crates(self) -> Result<usize> {
        let args = ["tree", "--prefix=none", "--format={p}"];
        let output = cargo()
            .args(args)
            .args(["--edges=normal,build", "--package", self.package])
            .output()?;
        ensure!(output.status.success(), "cargo tree fails");
        let text = String::from_utf8(output.stdout)?;
        let mut crates: Vec<_> = text
            .lines()
            .filter_map(|line| line.split(" (").next())
            .collect();
        crates.sort_unstable();
        crates.dedup();
        // The two are the program and its routes.
        Ok(crates.len() - 2)
    }

    /// The CPU time, in seconds, that the program takes to write `lines` log lines.
    pub(super) fn log(self, lines: u64) -> Result<f64> {
        let mut command = Command::new("/usr/bin/env");
        command
            .args([
                "bash",
                "-c",
                "TIMEFORMAT='%U %S'; time \"$0\" | cat > /dev/null",
            ])
            .arg(self.path())
            .env("BENCH_LINES", lines.to_string());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let times: Vec<f64> = text
            .split_whitespace()
            .filter_map(|time| time.parse().ok())
            .collect();
        let [user, system] = times[..] else {
            bail!("bash's time says {text:?}");
        };
        Ok(user + system)
    }

    /// Starts the program, and waits until it answers.
    pub(super) fn serve(self, conditions: Conditions) -> Result<Running> {
        let server = self.start(conditions)?;
        server.first_answer()?;
        Ok(server)
    }

    pub(super) fn start(self, conditions: Conditions) -> Result<Running> {
        let (address, admin) = (free_port()?, free_port()?);
        let mut command = on_processors(match conditions.shares_processors {
            true => "0,1",
            false => "0",
        });
        if let Some(counted) = conditions.counted {
            command.arg("valgrind").args(counted.arguments());
        }
        command
            .arg(self.path())
            .env("PORT", address.port().to_string())
            .env("APP__SERVER__HOST", "127.0.0.1")
            .env("APP__ADMIN__PORT", admin.port().to_string())
            .env("BENCH_ROUTES", conditions.extra_routes.to_string())
            .env_remove("RUST_LOG")
            .envs(self.env.iter().copied());
        if conditions.threads > 0 {
            let threads = conditions.threads.to_string();
            command
                .env("TOKIO_WORKER_THREADS", &threads)
                .env("APP__SERVICE__THREADS", &threads);
        }
        if conditions.connections > 0 {
            let connections = conditions.connections.to_string();
            command.env("APP__SERVER__MAX_CONNECTIONS", connections);
        }
        if let Some(filter) = conditions.filter {
            command
                .env("APP__LOGS__FILTER", filter)
                .env("BENCH_FILTER", filter);
        }
        let started = Instant::now();
        let mut child = command
            // Like a container's output, this is a pipe with a reader.
            .stdout(Stdio::piped())
            .stderr(if conditions.counted.is_some() {
                Stdio::piped()
            } else {
                Stdio::inherit()
            })
            .spawn()
            .with_context(|| format!("{:?} does not start", command.get_program()))?;
        let mut stdout = child.stdout.take().context("a pipe")?;
        thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        Ok(Running {
            child,
            address,
            admin,
            started,
        })
    }
}

// === impl Counted ===

impl Counted {
    fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Instructions => ["--tool=callgrind", "--callgrind-out-file=/dev/null"],
            Self::Allocations => ["--tool=dhat", "--dhat-out-file=/dev/null"],
        }
    }

    /// The number of counted events in valgrind's final report.
    pub(super) fn total(self, said: &str) -> Result<f64> {
        let number = said.lines().find_map(|line| match self {
            Self::Instructions => line.split_once("Collected : ").map(|(_, rest)| rest),
            Self::Allocations => {
                let (_, total) = line.split_once("Total: ")?;
                total.split_once(" in ")?.1.strip_suffix(" blocks")
            }
        });
        let number = number.with_context(|| format!("valgrind says {said:?}"))?;
        Ok(number.trim().replace(',', "").parse()?)
    }
}

// === impl Running ===

impl Running {
    /// Waits for the first 200, and returns the time since the start.
    pub(super) fn first_answer(&self) -> Result<Duration> {
        loop {
            if get(self.address, "/").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(self.started.elapsed());
            }
            ensure!(
                self.started.elapsed() < Duration::from_secs(60),
                "no answer"
            );
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// The CPU time of all threads of the program so far, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        let (_, rest) = stat.rsplit_once(')').context("a stat line")?;
        let mut fields = rest.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let (user, system) = (ticks().context("utime")?, ticks().context("stime")?);
        Ok((user + system) / 100.0)
    }

    /// Resident memory now and at its highest, in megabytes.
    pub(super) fn memory(&self) -> Result<(f64, f64)> {
        let status = self.proc("status")?;
        let kilobytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        let now = kilobytes("VmRSS:").context("VmRSS")?;
        let highest = kilobytes("VmHWM:").context("VmHWM")?;
        Ok((now / 1024.0, highest / 1024.0))
    }

    /// Anonymous memory, in kilobytes.
    pub(super) fn anonymous(&self) -> Result<f64> {
        let rollup = self.proc("smaps_rollup")?;
        let mut lines = rollup.lines();
        let line = lines.find_map(|line| line.strip_prefix("Anonymous:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.context("Anonymous")?.parse()?)
    }

    /// Requests a path from the admin listener of the chassis. Fails unless the status is 200.
    pub(super) fn admin(&self, path: &str) -> Result<()> {
        let answer = get(self.admin, path)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        Ok(())
    }

    /// Scrapes the metrics of the chassis. Returns the number of series, and the time that it took.
    pub(super) fn scrape(&self) -> Result<(usize, Duration)> {
        let began = Instant::now();
        let answer = get(self.admin, "/metrics")?;
        let took = began.elapsed();
        let series = answer.lines().filter(|line| {
            line.contains(' ') && line.starts_with(|first: char| first.is_ascii_lowercase())
        });
        Ok((series.count(), took))
    }

    /// Ends the program with SIGTERM, and returns its standard error.
    pub(super) fn stop(mut self) -> Result<String> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        self.child.wait()?;
        Ok(said)
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!(
            "/proc/{}/{file}",
            self.child.id()
        ))?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs on these processors only. Except for the measurement with two threads, a server has one processor, which it uses fully, and the load has the
/// others. A server that had to wait for its load would wake up more often for each request, and a cheap server more
/// often than an expensive one.
pub(super) fn on_processors(processors: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", processors]);
    command
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root().join("bench"))
        .env("CARGO_TARGET_DIR", target());
    cargo
}

fn target() -> PathBuf {
    root().join("target").join("bench")
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
