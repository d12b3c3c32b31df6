//! A Unix socket as the main listener, and one that the process inherits.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use axum_chassis_testing::Process;
use tempfile::TempDir;

use crate::client::get;
use crate::program::{SOON, Setup, eventually};

/// A folder with room for a socket.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    (folder, path)
}

fn on(path: &Path) -> Setup {
    Setup::default().set("server.unix_socket", path.display())
}

/// Starts it, and waits until it is ready.
fn start(setup: Setup) -> Process {
    let process = setup.launch();
    process.wait_until_ready();
    process
}

fn ask(path: &Path, target: &str, headers: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head =
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn routes_and_health_checks_are_served_and_the_file_goes_with_the_shutdown() {
    let (_folder, path) = place();
    let process = start(on(&path));
    let answer = ask(&path, "/", "");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    let answer = ask(&path, "/health/readiness", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
    assert!(!path.exists());
    let is_main =
        |line: &&serde_json::Value| line["message"] == "listening" && line["listener"] == "main";
    let listening = ended.log.iter().find(is_main).unwrap();
    assert_eq!(listening["address"], format!("unix:{}", path.display()));
}

#[test]
#[ignore = "needs curl"]
fn curl_is_served() {
    let (_folder, path) = place();
    let _process = start(on(&path));
    let curl = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--unix-socket"])
        .arg(&path)
        .arg("http://localhost/")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "hello", "{curl:?}");
}

#[test]
fn the_mode_of_the_file_is_the_settings() {
    let (_folder, path) = place();
    for (mode, expected) in [("0660", 0o660), ("600", 0o600)] {
        let process = start(on(&path).set("server.unix_socket_mode", mode));
        let file = fs::metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, expected);
        assert_eq!(process.stop().code, Some(0));
    }
}

#[test]
fn the_file_of_a_killed_process_is_replaced() {
    let (_folder, path) = place();
    let killed = start(on(&path));
    killed.signal(axum_chassis_testing::Signal::KILL);
    killed.wait();
    assert!(path.exists());
    let process = start(on(&path));
    assert!(ask(&path, "/", "").ends_with("hello"));
    assert_eq!(process.stop().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_in_use_and_a_file_of_another_kind_are_errors_and_left_alone() {
    let (_folder, path) = place();
    let first = start(on(&path));
    let second = on(&path).launch().wait();
    assert_eq!(second.code, Some(1));
    let error = second.message("service failed")["error"].to_string();
    assert!(error.contains("another process listens there"), "{error}");
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(ask(&path, "/", "").ends_with("hello"));
    assert_eq!(first.stop().code, Some(0));

    fs::write(&path, "precious").unwrap();
    let ended = on(&path).launch().wait();
    assert_eq!(ended.code, Some(1));
    let error = ended.message("service failed")["error"].to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_file_that_another_process_has_put_there_stays() {
    let (_folder, path) = place();
    let process = start(on(&path));
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(process.stop().code, Some(0));
    assert!(path.exists());
}

#[test]
fn its_peers_count_as_localhost() {
    let (_folder, path) = place();
    let forwarded = "x-forwarded-for: 198.51.100.7\r\n";
    for (proxies, client) in [("10.0.0.0/8", "127.0.0.1"), ("127.0.0.1", "198.51.100.7")] {
        let process = start(on(&path).set("server.trusted_proxies", proxies));
        let answer = ask(&path, "/client", forwarded);
        assert!(answer.ends_with(client), "{proxies}: {answer}");
        let ended = process.stop();
        assert_eq!(ended.message("request")["client"], client);
    }
}

#[test]
fn a_client_that_goes_away_is_noticed() {
    let (_folder, path) = place();
    let process = start(on(&path));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET /sleep/60000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let admin = process.admin().address();
    let active = || get(admin, "/metrics").body;
    eventually("asked", || {
        active().contains("http_server_active_requests 1")
    });
    drop(stream);
    let line = process.wait_for_message("request");
    assert_eq!(line["status"], 499, "{line}");
}

#[test]
fn check_config_reports_an_invalid_path_and_mode() {
    let said = Setup::default()
        .set(
            "server.unix_socket",
            format!("/run/{}/http.sock", "x".repeat(120)),
        )
        .set("server.unix_socket_mode", "rw-rw----")
        .run("--check-config");
    assert_eq!(said.code, Some(78), "{}", said.stderr);
    for told in [
        "server.unix_socket: must be a path of at most 100 bytes",
        "server.unix_socket_mode: must be permissions in octal digits",
    ] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }
    // Without a port, the admin port may have its number.
    let said = Setup::default()
        .set("server.unix_socket", "/run/orders/http.sock")
        .set("server.port", 9090)
        .set("admin.port", 9090)
        .run("--check-config");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

/// Starts it as systemd does, with these sockets as its first file descriptors after the standard ones.
fn activated(socket: impl Into<OwnedFd>, number: usize) -> Process {
    let setup = Setup::default().variable("LISTEN_FDS", number);
    setup.inherit(socket.into()).launch()
}

#[test]
fn an_inherited_tcp_socket_is_served_and_serves_those_who_came_early() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // It connects before there is a process.
    let mut early = std::net::TcpStream::connect(address).unwrap();
    early.set_read_timeout(Some(SOON)).unwrap();
    early
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let process = activated(socket.try_clone().unwrap(), 1);
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(process.main().address(), address);
    assert_eq!(get(address, "/").status, 200);
    assert_eq!(process.stop().code, Some(0));

    // Clients wait for the next process while the socket is open elsewhere.
    let mut between = std::net::TcpStream::connect(address).unwrap();
    between.set_read_timeout(Some(SOON)).unwrap();
    between
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let process = activated(socket, 1);
    let mut answer = String::new();
    between.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn an_inherited_unix_socket_is_served_and_its_file_stays() {
    let (_folder, path) = place();
    let socket = UnixListener::bind(&path).unwrap();
    let process = activated(socket, 1);
    assert!(ask(&path, "/", "").ends_with("hello"));
    assert_eq!(process.stop().code, Some(0));
    assert!(path.exists());
}

#[test]
fn inherited_sockets_of_another_kind_or_number_are_errors() {
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let ended = activated(datagrams, 1).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = "neither a TCP nor a Unix stream socket";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = activated(socket, 2).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("2 sockets in LISTEN_FDS"),
        "{}",
        ended.stderr
    );
}

#[test]
#[should_panic(expected = "listens on a Unix socket, which this client cannot use")]
fn the_test_kits_client_names_what_it_cannot_use() {
    let (_folder, path) = place();
    start(on(&path)).main();
}

#[test]
fn inherited_connections_are_errors() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (unix, _peer) = UnixStream::pair().unwrap();
    for connection in [OwnedFd::from(tcp), OwnedFd::from(unix)] {
        let ended = activated(connection, 1).wait();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("`Accept=no`"), "{}", ended.stderr);
    }
}

#[test]
fn the_sockets_of_another_process_are_not_taken() {
    let setup = Setup::default()
        .variable("LISTEN_FDS", 1)
        .variable("LISTEN_PID", 1);
    let program = setup.start();
    assert_eq!(get(program.main, "/").status, 200);
    assert_eq!(program.stop().0, Some(0));
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn systemd_starts_it_with_its_first_client() {
    let (_folder, path) = place();
    let mut service = std::process::Command::new("systemd-socket-activate")
        .arg(format!("--listen={}", path.display()))
        .args(
            ["APP__ADMIN__PORT=0", "APP__SHUTDOWN__DELAY=0s"].map(|set| format!("--setenv={set}")),
        )
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "program::program",
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("listening", || path.exists());
    assert!(ask(&path, "/", "").ends_with("hello"));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&service),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0));
}

#[test]
#[ignore = "needs nginx"]
fn nginx_passes_requests_and_the_clients_address() {
    let (folder, path) = place();
    let process = start(on(&path).set("server.trusted_proxies", "127.0.0.1"));
    let page = include_str!("../../docs/systemd.md");
    let (_, upstream) = page
        .split_once("<!-- nginx-unix: begin -->\n```nginx\n")
        .unwrap();
    let (upstream, _) = upstream.split_once("```").unwrap();
    let upstream = upstream.replace("/run/orders/http.sock", path.to_str().unwrap());
    let at = folder.path().display();
    // Also on a Unix socket, which needs no free port.
    let front = folder.path().join("nginx.sock");
    let config = format!(
        "user root; daemon off; pid {at}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{upstream}
         server {{ listen unix:{}; location / {{ proxy_pass http://orders; proxy_http_version 1.1;
         proxy_set_header Host $http_host; proxy_set_header Connection \"\";
         proxy_set_header X-Forwarded-For 198.51.100.7; }} }} }}",
        front.display()
    );
    fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut nginx = std::process::Command::new("nginx")
        .args([
            "-p",
            &at.to_string(),
            "-c",
            &format!("{at}/nginx.conf"),
            "-e",
            "stderr",
        ])
        .spawn()
        .unwrap();
    eventually("listening", || UnixStream::connect(&front).is_ok());
    for _ in 0..3 {
        let answer = ask(&front, "/client", "");
        assert!(answer.ends_with("198.51.100.7"), "{answer}");
    }
    let pid = rustix::process::Pid::from_child(&nginx);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    nginx.wait().unwrap();
    assert_eq!(process.stop().code, Some(0));
}
