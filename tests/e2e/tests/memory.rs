//! In a container of 128 MiB with the default settings, no client can have the service killed for memory, and others are
//! answered meanwhile.
//!
//! ```sh
//! cargo build --example service && cargo test --package e2e --test memory -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: f64 = 128.0 * 1024.0 * 1024.0;

/// A container with the example service, removed when this is dropped.
struct Container {
    name: String,
    main: SocketAddr,
    admin: SocketAddr,
}

impl Container {
    /// The debug build of this machine, on its network: what counts is the memory limit.
    fn start() -> Self {
        let test = std::env::current_exe().unwrap();
        let service = test.ancestors().nth(2).unwrap().join("examples/service");
        assert!(service.exists(), "cargo build --example service");
        let name = format!("memory-{}", std::process::id());
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--memory=128m",
            "--memory-swap=128m",
            "--network=host",
            "--env=APP__SERVER__PORT=0",
            "--env=APP__ADMIN__PORT=0",
            "--env=APP__LOGS__ACCESS=false",
            &format!("--volume={}:/service:ro", service.display()),
            "debian:trixie-slim",
            "/service",
        ]);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut container = Self {
            name,
            main: any,
            admin: any,
        };
        for _ in 0..100 {
            let log = docker(&["logs", &container.name]);
            let listens = |listener: &str| {
                let line = log.lines().find(|line| {
                    line.contains("\"listening\"") && line.contains(&format!("\"{listener}\""))
                })?;
                let (_, port) = line.rsplit_once(':')?;
                port.trim_end_matches(['"', '}']).parse().ok()
            };
            if let (Some(main), Some(admin)) = (listens("main"), listens("admin")) {
                container.main.set_port(main);
                container.admin.set_port(admin);
                return container;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("it does not listen: {}", docker(&["logs", &container.name]));
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = ask(self.admin, "GET /metrics HTTP/1.0\r\n\r\n");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {metrics}"))
            .trim()
            .parse()
            .unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.name]);
    }
}

fn docker(arguments: &[&str]) -> String {
    let program = match Path::new("/usr/bin/docker").exists() {
        true => "/usr/bin/docker",
        false => "docker",
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("docker");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    text.into_owned()
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Clients, each of which sends this and no more.
fn clients(address: SocketAddr, number: usize, sends: &[u8]) -> Vec<TcpStream> {
    (0..number)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client
                .set_write_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            // Some are refused before they have sent all of it.
            let _ = client.write_all(sends);
            client
        })
        .collect()
}

fn slow_bodies() -> Vec<u8> {
    let mut request = b"POST /notes HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
        content-length: 2000000\r\n\r\n{\"text\": \""
        .to_vec();
    request.extend(vec![b'x'; 1_900_000]);
    request
}

fn large_heads() -> Vec<u8> {
    let mut head =
        b"POST /notes HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n".to_vec();
    for number in 0..60 {
        head.extend(format!("x-{number}: {}\r\n", "x".repeat(1000)).bytes());
    }
    head
}

fn heads_and_bodies() -> Vec<u8> {
    let mut request = large_heads();
    request.extend(b"content-length: 2000000\r\n\r\n");
    request.extend(vec![b' '; 64_000]);
    request
}

/// A body of a megabyte in pieces of a byte.
fn pieces() -> Vec<u8> {
    let mut request = b"POST /notes HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    request.extend(b"1\r\n \r\n".repeat(1_000_000));
    request
}

/// Requests whose answers wait for a window.
fn answers() -> Vec<u8> {
    let mut sends = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sends.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for stream in (1..200).step_by(2) {
        // GET http://test/
        sends.extend(frame(1, 5, stream, b"\x82\x86\x84\x41\x04test"));
    }
    sends
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sixteen streams of HTTP/2, each of which fills its window.
fn windows() -> Vec<u8> {
    let mut sends = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sends.extend(frame(4, 0, 0, &[]));
    // POST http://test/notes, its content-type application/json.
    let mut head = b"\x83\x86\x04\x06/notes\x41\x04test\x0f\x10\x10".to_vec();
    head.extend(b"application/json");
    for stream in (1..32).step_by(2) {
        sends.extend(frame(1, 4, stream, &head));
        for part in [16_000, 16_000, 16_000, 16_000] {
            sends.extend(frame(0, 0, stream, &vec![b' '; part]));
        }
    }
    sends
}

#[test]
#[ignore = "needs Docker"]
fn no_client_has_a_container_of_128_mib_killed_and_others_are_answered() {
    // One for each connection.
    let files = Rlimit {
        current: Some(8192),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, files).expect("more file descriptors");
    println!("| clients | memory | answer to another | after |\n|---|---:|---:|---:|");
    for (what, number, sends) in [
        ("bodies of 2 MB that do not end", 200, slow_bodies()),
        ("connections that send nothing", 4000, Vec::new()),
        ("heads of 60 KB that do not end", 2000, large_heads()),
        (
            "such heads and 64 KB of a body each",
            2000,
            heads_and_bodies(),
        ),
        ("bodies in a million pieces", 10, pieces()),
        ("windows of HTTP/2 that are filled", 100, windows()),
        ("connections with 100 answers that wait", 250, answers()),
    ] {
        let container = Container::start();
        assert_eq!(container.metric("cgroup_memory_limit_bytes"), LIMIT);
        let held = clients(container.main, number, &sends);
        // The last data to arrive counts, too.
        sleep(Duration::from_secs(1));
        let memory = container.metric("process_resident_memory_bytes");
        let asked = Instant::now();
        let note = "{\"text\": \"hello\"}";
        let post = format!(
            "POST /notes HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{note}",
            note.len()
        );
        let answer = ask(container.main, &post);
        let took = asked.elapsed();
        println!(
            "| {number} {what} | {:.0} MiB | {} | {} ms |",
            memory / 1024.0 / 1024.0,
            &answer[9..12],
            took.as_millis()
        );
        // Requests whose answers wait count in limits.concurrency, for server.send_timeout.
        let is_shed = what.contains("answers") && answer.contains("retry-after");
        assert!(
            answer.starts_with("HTTP/1.1 201") || is_shed,
            "{what}: {answer}"
        );
        // Connections that wait for a slot come first.
        assert!(took < Duration::from_secs(15), "{what}: {took:?}");
        assert!(memory < 0.9 * LIMIT, "{what}: {memory} bytes");
        let state = ["inspect", "--format={{.State.OOMKilled}} {{.RestartCount}}"];
        let state = docker(&[state[0], state[1], &container.name]);
        assert_eq!(state.trim(), "false 0", "{what}");
        drop(held);
    }
}
