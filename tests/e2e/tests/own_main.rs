//! docs/own-main.md: its changes to published programs of others, applied to them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum_chassis_testing::Signal;
use e2e::{built, cargo, published, root, wait_for};
use std::io::{Read, Write};

/// Makes the page's changes: each block of a diff between the marks begins with the name of a file.
fn apply(program: &Path, mark: &str) {
    let page = fs::read_to_string(root().join("docs/own-main.md")).expect("the page");
    let (_, changes) = page
        .split_once(&format!("<!-- {mark}: begin -->\n"))
        .expect("the changes");
    let (changes, _) = changes
        .split_once(&format!("<!-- {mark}: end -->"))
        .expect("their end");
    let blocks = changes.split("```diff\n").skip(1);
    for block in blocks.map(|block| block.split_once("```").expect("an end").0) {
        let (name, lines) = block.split_once('\n').expect("lines");
        let file = program.join(name.trim_start_matches("# "));
        let text = fs::read_to_string(&file).expect("a file");
        // The file's own ends of lines.
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let side = |other: char| -> String {
            let lines = lines.lines().filter(|line| !line.starts_with(other));
            lines.flat_map(|line| [&line[1..], end]).collect()
        };
        let (before, after) = (side('+'), side('-'));
        assert_eq!(
            text.matches(&before).count(),
            1,
            "{}:\n{before}",
            file.display()
        );
        fs::write(&file, text.replace(&before, &after)).expect("a file");
    }
    let manifest = program.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let path = root().display().to_string();
    let dependency = format!("\n[dependencies.axum-chassis]\npath = \"{path}\"\n");
    fs::write(&manifest, text + &dependency).expect("a manifest");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a timeout");
    stream
}

fn status_line(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn ask(port: u16, head: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(head.as_bytes()).expect("sent");
    status_line(&mut stream)
}

fn start(program: &Path, arguments: &[&str], port: u16) -> Child {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .stdin(Stdio::null());
    let child = command.spawn().expect("the program");
    wait_for("the program", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    child
}

/// Builds the program with the page's changes.
fn changed(name: &str, version: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let program = published(name, version);
    apply(program.path(), name);
    let mut build = cargo(program.path());
    build.args(["build", "--bin", name]);
    let binary = built(&mut build);
    (program, binary)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const TWO_HOSTS: &str = "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n";

/// The listener's promises, and a signal while a request arrives: the exit code.
fn keeps_what_the_page_promises(mut child: Child, port: u16, signal: Signal) -> Option<i32> {
    assert_eq!(ask(port, GET), "HTTP/1.1 200 OK");
    assert_eq!(ask(port, TWO_HOSTS), "HTTP/1.1 400 Bad Request");
    let begun = Instant::now();
    assert_eq!(ask(port, "GET / HT"), "");
    assert!(begun.elapsed() < Duration::from_secs(10));

    let mut slow = connect(port);
    let (first, rest) = GET.split_at(20);
    slow.write_all(first.as_bytes()).expect("sent");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).expect("a signal");
    slow.write_all(rest.as_bytes()).expect("sent");
    assert_eq!(status_line(&mut slow), "HTTP/1.1 200 OK");
    child.wait().expect("an end").code()
}

#[test]
#[ignore = "builds a published program, which takes minutes"]
fn live_server_is_changed_as_on_the_page() {
    let (folder, program) = changed("live-server", "0.11.1");
    let site = folder.path().join("site");
    fs::create_dir(&site).expect("a folder");
    fs::write(site.join("index.html"), "<p>hello</p>").expect("a file");
    let port = free_port();
    let child = start(&program, &[&site.display().to_string()], port);
    let ready = "GET /health/readiness HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(port, ready), "HTTP/1.1 200 OK");
    assert_eq!(
        keeps_what_the_page_promises(child, port, Signal::TERM),
        Some(0)
    );
}

#[test]
#[ignore = "builds a published program, which takes minutes"]
fn hashcards_is_changed_as_on_the_page() {
    let (folder, program) = changed("hashcards", "0.5.0");
    let port = free_port();
    let cards = folder.path().join("example").display().to_string();
    let arguments = ["browse", &cards, "--open-browser", "false"];
    let child = start(&program, &arguments, port);
    // Its own signal: Ctrl-C.
    assert_eq!(
        keeps_what_the_page_promises(child, port, Signal::INT),
        Some(0)
    );
}
