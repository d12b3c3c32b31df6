//! The store of one's own that docs/stores.md shows.

use std::path::Path;
use std::process::{Command, Stdio};

use stores::{Process, Service, free_port, request, wait_for};

const BINARY: &str = env!("CARGO_BIN_EXE_nats");

fn server(port: u16) -> Process {
    let mut nats = Command::new("nats-server");
    nats.args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .stderr(Stdio::null());
    let process = Process::start(&mut nats, "apt-get install nats-server");
    wait_for("NATS", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    process
}

#[test]
fn the_documentation_shows_it_as_it_is() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(here.join(path)).expect(path);
    let (code, page) = (read("src/bin/nats.rs"), read("../../docs/stores.md"));
    let begun = code
        .split_once("// --- the store: begin\n")
        .expect("its begin")
        .1;
    let store = begun
        .split_once("// --- the store: end")
        .expect("its end")
        .0;
    assert!(
        page.contains(store),
        "docs/stores.md shows another store than src/bin/nats.rs has"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn it_behaves_as_ours_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let url = format!("nats://127.0.0.1:{port}");
    let service = Service::start(BINARY, folder.path(), &[("APP__NATS__URL", &url)]);
    wait_for("a warning", || {
        service
            .said()
            .contains("waiting for a dependency")
            .then_some(())
    });
    let nats = server(port);
    service.wait_until_ready(true);

    let main = service.address("main");
    let publish = || request(main, "POST", "/orders", "tea").expect("an answer");
    assert_eq!(publish().status, 200);
    assert_eq!(
        service.metric("nats_published_total{pool=\"nats\"}"),
        Some(1.0)
    );
    drop(nats);
    service.wait_until_ready(false);
    let answer = publish();
    assert!(answer.is_unavailable(), "{answer:?}");
    let _nats = server(port);
    service.wait_until_ready(true);
    assert_eq!(publish().status, 200);
    assert!(service.stop().status.success());
}
