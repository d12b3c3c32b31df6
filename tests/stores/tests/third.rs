//! The custom store that docs/stores.md shows.

use std::path::Path;
use std::process::{Command, Stdio};

use axum_chassis_testing::Program;
use stores::{Process, free_port, metric, request, wait_for, wait_until_not_ready};

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
fn the_documentation_shows_the_code_of_the_nats_store() {
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
fn a_store_of_a_third_party_behaves_like_ours() {
    let port = free_port();
    let service = Program::new(BINARY)
        .set("nats.url", format!("nats://127.0.0.1:{port}"))
        .set("health.interval", "100ms")
        .launch();
    service.wait_for_message("waiting for a dependency");
    let nats = server(port);
    service.wait_until_ready();

    let main = service.main().address();
    let publish = || request(main, "POST", "/orders", "tea").expect("an answer");
    assert_eq!(publish().status, 200);
    assert_eq!(
        metric(&service, "nats_published_total{pool=\"nats\"}"),
        Some(1.0)
    );
    drop(nats);
    wait_until_not_ready(&service);
    let answer = publish();
    assert!(answer.is_unavailable(), "{answer:?}");
    let _nats = server(port);
    service.wait_until_ready();
    assert_eq!(publish().status, 200);
    assert_eq!(service.stop().code, Some(0));
}
