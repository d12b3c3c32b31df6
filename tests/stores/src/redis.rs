//! Redis.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::server::{Process, free_port};
use crate::{Certificates, PASSWORD, PASSWORD_IN_URL, Proxy, wait_for};

/// A server that keeps nothing.
pub struct Redis {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    /// The options of TLS, if it has it.
    tls: Vec<String>,
}

impl Redis {
    /// Starts a server; returns once it answers.
    pub fn start() -> Self {
        Self::make(Vec::new())
    }

    /// The same, with TLS and nothing else.
    pub fn with_tls(certificates: &Certificates) -> Self {
        let [certificate, key] = certificates.server().map(|file| file.display().to_string());
        let authority = certificates.authority().display().to_string();
        let mut options = ["--port", "0", "--tls-cert-file"]
            .map(str::to_owned)
            .to_vec();
        options.push(certificate);
        options.extend(["--tls-key-file".to_owned(), key]);
        options.extend(["--tls-ca-cert-file".to_owned(), authority]);
        options.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        Self::make(options)
    }

    fn make(tls: Vec<String>) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free_port(),
            process: None,
            tls,
        };
        server.start_again();
        server
    }

    /// The `REDIS_URL` for a service.
    pub fn url(&self) -> String {
        let (scheme, host) = if self.tls.is_empty() {
            ("redis", "127.0.0.1")
        } else {
            ("rediss", "localhost")
        };
        format!("{scheme}://:{PASSWORD_IN_URL}@{host}:{}/0", self.port)
    }

    /// The same, through a proxy.
    pub fn url_through(&self, proxy: &Proxy) -> String {
        let url = self.url().replace("127.0.0.1", "localhost");
        url.replace(&self.port.to_string(), &proxy.port().to_string())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The number of client connections, without this one.
    pub fn clients(&self) -> usize {
        self.command(&["CLIENT", "LIST"]).matches("laddr=").count() - 1
    }

    /// Sends a command, and returns the response in Redis's protocol.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        for words in [&["AUTH", PASSWORD], words, &["QUIT"]] {
            write!(stream, "*{}\r\n", words.len()).expect("a write");
            for word in words {
                write!(stream, "${}\r\n{word}\r\n", word.len()).expect("a write");
            }
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
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
            .args([
                if self.tls.is_empty() {
                    "--port"
                } else {
                    "--tls-port"
                },
                &self.port.to_string(),
            ])
            .args(["--bind", "127.0.0.1"])
            .args(&self.tls)
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
            if !self.tls.is_empty() {
                return Some(());
            }
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 1];
            // Any answer: without the password it is a refusal.
            stream.read_exact(&mut answer).ok()
        });
    }
}
