//! A service as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Answer, request, wait_for};

/// A running service, on free ports of this machine. Dropped, it is killed.
pub struct Service {
    process: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How a service ended.
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it said, on both outputs.
    pub said: String,
}

fn command(binary: &str, folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary);
    command
        .current_dir(folder)
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .envs([
            ("LOG_FORMAT", "json"),
            ("APP__SERVER__HOST", "127.0.0.1"),
            ("APP__SERVER__PORT", "0"),
            ("APP__ADMIN__HOST", "127.0.0.1"),
            ("APP__ADMIN__PORT", "0"),
            // Ups and downs are to be seen soon.
            ("APP__HEALTH__INTERVAL", "100ms"),
            ("APP__HEALTH__FAILURES", "2"),
        ])
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Runs one of a service's commands, or a flag, to its end.
pub fn run(binary: &str, folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let output = command(binary, folder, variables).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{binary}: {error}"))
}

impl Service {
    /// Starts it in a folder, where its `config/` would be.
    pub fn start(binary: &str, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut process = command(binary, folder, variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{binary}: {error}"));
        let said = Arc::new(Mutex::new(String::new()));
        let read = |output: Box<dyn Read + Send>| {
            let said = said.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let mut said = said.lock().expect("not poisoned");
                    said.push_str(&line);
                    said.push('\n');
                }
            })
        };
        let readers = vec![
            read(Box::new(process.stdout.take().expect("a pipe"))),
            read(Box::new(process.stderr.take().expect("a pipe"))),
        ];
        Self {
            process,
            said,
            readers,
        }
    }

    /// The same, once it is ready.
    pub fn ready(binary: &str, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let service = Self::start(binary, folder, variables);
        service.wait_until_ready(true);
        service
    }

    /// All that it has said until now, on both outputs.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Where its routes are (`main`), or its admin routes (`admin`), once it listens there.
    pub fn address(&self, listener: &str) -> SocketAddr {
        wait_for("a listener", || {
            let said = self.said();
            let lines = said
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut lines = lines.filter(|line| line["message"] == "listening");
            let line = lines.find(|line| line["listener"] == listener)?;
            line["address"].as_str()?.parse().ok()
        })
    }

    /// `GET` on the admin listener.
    pub fn admin(&self, path: &str) -> Answer {
        request(self.address("admin"), "GET", path, "").expect("an answer")
    }

    /// Returns once it is ready, or not ready any more.
    pub fn wait_until_ready(&self, ready: bool) {
        let status = if ready { 200 } else { 503 };
        wait_for(if ready { "readiness" } else { "no readiness" }, || {
            (self.admin("/health/readiness").status == status).then_some(())
        });
    }

    /// A metric's value, by its name and labels as they are written.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.admin("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("a running process");
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let status = wait_for("the exit", || self.process.try_wait().expect("a child"));
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        Ended {
            status,
            said: self.said(),
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> Ended {
        self.terminate();
        self.end()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // For a test that fails half-way. After the end there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
