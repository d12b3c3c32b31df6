//! Processes that hand over to the next under load, as a balancer in front of one machine has them: the next is ready,
//! clients are sent to it, the one before stops.
//!
//! `cargo test -p e2e --test soak -- --ignored million` has a million requests over a hundred of these. On a cluster,
//! tests/e2e/soak.sh has the same by rolling restarts.

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use axum_chassis::Service;
use axum_chassis_testing::{Ended, Process, Program};
use e2e::{Kind, Load};

/// Each is asked for so long, at least.
const TURN: Duration = Duration::from_millis(200);

/// Requests a second, a third of them on new connections. A machine with a firewall, as Docker brings one, remembers each
/// connection for two minutes and 262,144 at most: past that it drops what would open another.
const SUSTAINED: NonZeroU32 = NonZeroU32::new(3000).expect("not zero");

#[test]
fn no_request_fails_and_each_leaves_one_line_while_processes_hand_over() {
    hand_over(5, 0, NonZeroU32::MAX);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_requests_over_a_hundred_processes() {
    hand_over(100, 1_000_000, SUSTAINED);
}

fn hand_over(times: u64, requests: u64, rate: NonZeroU32) {
    let mut service = start();
    let load = Load::start(&url(&service), rate);
    let mut lines = 0;
    for time in 1..=times {
        let turn = Instant::now() + TURN;
        while Instant::now() < turn || load.counts().total() < requests * time / times {
            std::thread::sleep(Duration::from_millis(10));
        }
        let next = start();
        load.turn_to(&url(&next));
        lines += stop(std::mem::replace(&mut service, next));
    }
    let counts = load.end();
    lines += stop(service);
    println!("{counts}, {times} times handed over");
    assert_eq!(counts.failures, [""; 0]);
    for kind in [Kind::Kept, Kind::New, Kind::Http2] {
        assert!(counts.requests[&kind] >= times, "{counts}");
    }
    assert_eq!(lines, counts.total());
}

fn start() -> Process {
    let program = Program::new(std::env::current_exe().expect("this test"));
    let harness = ["--exact", "program", "--ignored", "--nocapture", "--quiet"];
    // Within it, requests on kept connections have been sent; the balancer switches at once.
    let service = program
        .arguments(harness)
        .set("shutdown.delay", "100ms")
        .start();
    service.wait_until_ready();
    service
}

fn url(service: &Process) -> String {
    format!("http://{}/", service.main().address())
}

/// Stops the service, and returns the number of its access lines.
fn stop(service: Process) -> u64 {
    let Ended { code, log, .. } = service.stop();
    assert_eq!(code, Some(0));
    let lines = log.iter().filter(|line| line["message"] == "request");
    lines.count() as u64
}

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    let service = Service::<()>::new("orders", "1.4.0");
    let code = service
        .arguments([""; 0])
        .run(async |_| Ok(Router::new().route("/", get(async || "hello"))));
    // Past the test harness, which would say more.
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}
