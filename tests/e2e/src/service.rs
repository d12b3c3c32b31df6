//! A service as a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{PATIENCE, wait_for};

/// A running service, on free ports of this machine. Dropped, it is killed.
pub struct Service {
    process: Child,
    /// Where its routes are.
    pub main: SocketAddr,
    /// Where its admin routes are.
    pub admin: SocketAddr,
    log: thread::JoinHandle<Vec<Value>>,
}

/// What came back for a request.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The rest.
    pub body: String,
}

impl Service {
    /// Starts `binary` in `folder`, where its `config/` is; returns once both listeners listen.
    ///
    /// # Panics
    /// If they do not, or if a line of the log is not JSON.
    pub fn start(binary: &Path, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(binary)
            .current_dir(folder)
            .envs([
                ("LOG_FORMAT", "json"),
                ("APP__SERVER__HOST", "127.0.0.1"),
                ("APP__SERVER__PORT", "0"),
                ("APP__ADMIN__HOST", "127.0.0.1"),
                ("APP__ADMIN__PORT", "0"),
            ])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));

        let (listening, listeners) = mpsc::channel();
        let log = thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok).map(|line| {
                let line: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not JSON: {line:?}: {error}"));
                if line["message"] == "listening" {
                    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                    let _ = listening.send((text("listener"), text("address")));
                }
                line
            });
            lines.collect()
        });
        let (mut main, mut admin) = (None, None);
        while main.is_none() || admin.is_none() {
            let (listener, address) = listeners
                .recv_timeout(PATIENCE)
                .expect("both listeners listen");
            let address = Some(address.parse().expect("an address"));
            match listener.as_str() {
                "main" => main = address,
                "admin" => admin = address,
                other => panic!("an unknown listener {other:?}"),
            }
        }
        Self {
            process,
            main: main.expect("just set"),
            admin: admin.expect("just set"),
            log,
        }
    }

    /// Returns once the service says that it is ready.
    pub fn wait_until_ready(&self) {
        wait_for("readiness", || {
            (get(self.admin, "/health/readiness").status == 200).then_some(())
        });
    }

    /// `GET` on the main listener.
    pub fn get(&self, path: &str) -> Answer {
        get(self.main, path)
    }

    /// `POST` of JSON on the main listener.
    pub fn post(&self, path: &str, json: &str) -> Answer {
        request(self.main, "POST", path, json)
    }

    /// `GET` on the admin listener.
    pub fn admin(&self, path: &str) -> Answer {
        get(self.admin, path)
    }

    /// Sends SIGTERM; the exit status, and every line of the log.
    pub fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("a running process");
        let status = wait_for("the exit", || self.process.try_wait().expect("a child"));
        let log = std::mem::replace(&mut self.log, thread::spawn(Vec::new));
        (status, log.join().expect("a log of JSON lines"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // For a test that fails half-way. After `stop` there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, "")
}

/// One request on a connection of its own. HTTP/1.0, which has no chunks to put together.
fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("room in the socket");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("an answer");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
