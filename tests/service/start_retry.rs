//! Waiting for what the service cannot start without.

use std::net::{TcpListener, TcpStream};

use axum_chassis_testing::Ended;

use crate::program::Setup;

/// An address where nobody listens yet.
fn unused_address() -> std::net::SocketAddr {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap()
}

/// The error of the only line at ERROR.
fn failure(ended: &Ended) -> &str {
    let mut log = ended.log.iter();
    let error = log.find(|line| line["level"] == "ERROR").unwrap();
    error["error"].as_str().unwrap()
}

#[test]
fn a_late_dependency_is_awaited_live_and_not_ready() {
    let address = unused_address();
    let main = unused_address();
    let process = Setup::default()
        .set("subject.needs", address)
        .set("server.port", main.port())
        .launch();
    let admin = process.admin();
    let warning = process.wait_for_message("waiting for a dependency");
    assert_eq!(
        (&warning["dependency"], &warning["level"]),
        (&"store".into(), &"WARN".into())
    );
    assert_eq!(admin.get("/health/liveness").status, 200);
    assert_eq!(admin.get("/health/startup").status, 503);
    assert_eq!(admin.get("/health/readiness").status, 503);
    // A client that connects meanwhile is refused at once.
    let refused = TcpStream::connect(main).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    let _here = TcpListener::bind(address).unwrap();
    process.wait_for_message("dependency available");
    process.wait_for_message("started");
    process.wait_until_ready();
    TcpStream::connect(main).unwrap();
    let ended = process.stop();
    assert_eq!(ended.code, Some(0));
    let warnings = ended.log.iter().filter(|line| line["level"] == "WARN");
    assert_eq!(warnings.count(), 1, "{ended:#?}");
}

#[test]
fn a_missing_dependency_is_named_by_service_and_command() {
    for arguments in ["", "migrate"] {
        let ended = Setup::default()
            .variable("ARGUMENTS", arguments)
            .set("subject.needs", unused_address())
            .set("service.start_timeout", "500ms")
            .launch()
            .wait();
        assert_eq!(ended.code, Some(1));
        let said = failure(&ended);
        assert!(said.contains("store: not available after"), "{said}");
        assert!(said.contains("refused"), "{said}");
    }
}

#[test]
fn a_signal_ends_a_waiting_command() {
    let process = Setup::default()
        .variable("ARGUMENTS", "migrate")
        .set("subject.needs", unused_address())
        .launch();
    process.wait_for_message("waiting for a dependency");
    let ended = process.stop();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let said = failure(&ended);
    assert!(said.ends_with("because the service is stopping"), "{said}");
}
