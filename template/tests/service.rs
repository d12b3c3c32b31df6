//! Starts the real binary, asks it, and stops it as Kubernetes would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_{{package}}");
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn it_becomes_ready_answers_counts_and_stops_in_order() {
    let mut service = Service::start();
    service.wait_until_ready();

    let (status, body) = request(service.main, "GET", "/", "");
    assert_eq!(status, 200);
    assert!(body.contains(env!("CARGO_PKG_NAME")), "{body}");

    let order = r#"{"item":"tea","quantity":2}"#;
    assert_eq!(request(service.main, "POST", "/orders", order).0, 201);
    assert_eq!(request(service.main, "GET", "/orders/1", "").0, 200);
    assert_eq!(request(service.main, "GET", "/orders/2", "").0, 404);

    assert_eq!(request(service.main, "GET", "/health/liveness", "").0, 200);
    let (_, metrics) = request(service.admin, "GET", "/metrics", "");
    assert!(metrics.contains("orders_created_total 1"), "{metrics}");
    assert!(
        metrics.contains(r#"http_route="/orders/{id}""#),
        "{metrics}"
    );

    assert_eq!(service.stop(), Some(0));
}

#[test]
fn wrong_settings_end_it_before_it_starts() {
    let output = Command::new(BINARY)
        .args(["--set", "store.capacity=0", "--check-config"])
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("store.capacity"), "{said}");
}

/// Editors complete and check `config/*.toml` by it. Written here, so that it is never stale.
#[test]
fn the_schema_of_the_settings_is_current() {
    let output = Command::new(BINARY)
        .arg("--config-schema")
        .output()
        .expect("the binary");
    serde_json::from_slice::<Value>(&output.stdout).expect("a JSON schema");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schema.json");
    if std::fs::read(file).ok().as_ref() != Some(&output.stdout) {
        std::fs::write(file, output.stdout).expect("a place for the schema");
    }
}

struct Service {
    process: Child,
    main: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    fn start() -> Self {
        let mut process = Command::new(BINARY)
            .env("LOG_FORMAT", "json")
            .env("RUST_LOG", "info")
            .env("APP__SERVER__HOST", "127.0.0.1")
            .env("APP__SERVER__PORT", "0")
            .env("APP__ADMIN__HOST", "127.0.0.1")
            .env("APP__ADMIN__PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(process.stdout.take().expect("a pipe"));

        // Reads to the end: a service whose log nobody reads would start to drop lines.
        let (listening, listeners) = mpsc::channel();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).expect("each line is JSON");
                if line["message"] == "listening" {
                    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                    let _ = listening.send((text("listener"), text("address")));
                }
            }
        });
        let address = |wanted: &str| -> SocketAddr {
            loop {
                let (listener, address) = listeners.recv_timeout(PATIENCE).expect("a listener");
                if listener == wanted {
                    return address.parse().expect("an address");
                }
            }
        };
        // In the order in which they start.
        let admin = address("admin");
        let main = address("main");
        Self {
            process,
            main,
            admin,
        }
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while request(self.admin, "GET", "/health/readiness", "").0 != 200 {
            assert!(Instant::now() < deadline, "it does not become ready");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and the exit code.
    fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("a running process");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // For a test that failed half-way; after `stop` there is nothing left to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status and the body of one request, on a connection of its own.
fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // HTTP/1.0, which has no chunks to put together.
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
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
