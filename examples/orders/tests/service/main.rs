//! The service as a process of its own: on a file, and on servers that go away and come back while
//! clients are asking. What the tests ask of it is here, and what it must not have lost.

mod inform;
mod pooler;
mod reconnect;
mod secrets;
mod servers;
mod silent_connections;
mod sqlite;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use axum_chassis_testing::{Ended, Program};
use stores::{Answer, Asked, request};

/// The service, whose ups and downs are to be seen soon.
fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_example-orders"))
        .set("health.interval", "100ms")
        .set("health.failures", 2)
}

/// Has a command of the service, or a flag, succeed.
fn run(program: Program, argument: &str) -> Ended {
    let ended = program.argument(argument).output();
    assert_eq!(
        ended.code,
        Some(0),
        "{argument}: {}{}",
        ended.stdout,
        ended.stderr
    );
    ended
}

/// Orders something, under a reference made of the number.
fn take(main: SocketAddr, number: usize) -> io::Result<Answer> {
    order(
        main,
        &format!(r#"{{"reference": "R-{number}", "item": "tea", "quantity": 2}}"#),
    )
}

fn order(main: SocketAddr, json: &str) -> io::Result<Answer> {
    request(main, "POST", "/orders", json)
}

/// Holds what clients were told against the references that the database has: an order that was
/// acknowledged is there.
fn acknowledged(asked: &[Asked], kept: &[String]) {
    let kept: BTreeSet<&str> = kept.iter().map(String::as_str).collect();
    let taken = asked.iter().filter(|one| one.status() == 201);
    let lost: Vec<_> = taken
        .map(|one| format!("R-{}", one.number))
        .filter(|reference| !kept.contains(&**reference))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
