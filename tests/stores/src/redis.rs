//! Redis.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::server::{Process, free_port};
use crate::{PASSWORD, PASSWORD_IN_URL, wait_for};

/// A server that keeps nothing.
pub struct Redis {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// Starts a server; returns once it answers.
    pub fn start() -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free_port(),
            process: None,
        };
        server.start_again();
        server
    }

    /// What a service is given as its `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD_IN_URL}@127.0.0.1:{}/0", self.port)
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait();
        }
    }

    /// Starts it on the same port, without what it knew.
    pub fn start_again(&mut self) {
        self.start_with(PASSWORD);
    }

    /// The same, with another password than the one in its URL.
    pub fn start_with(&mut self, password: &str) {
        let mut redis = Command::new("redis-server");
        redis
            .current_dir(self.folder.path())
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--requirepass",
                password,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null());
        self.process = Some(Process::start(&mut redis, "apt-get install redis-server"));
        wait_for("Redis", || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 1];
            // Any answer: without the password it is a refusal.
            stream.read_exact(&mut answer).ok()
        });
    }
}
