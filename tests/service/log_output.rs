//! The log of a service whose reader is in trouble.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Connection, get};
use crate::program::{Setup, eventually};

/// For how long nobody reads.
const BLOCKED: Duration = Duration::from_secs(30);

#[test]
fn a_log_reader_that_stops_for_half_a_minute_delays_no_request_and_every_line_is_accounted_for() {
    let program = Setup::default().set("logs.buffer", "64KiB").start();
    let stop = AtomicBool::new(false);
    let (main, admin) = (program.main, program.admin);
    let (requests, slowest) = std::thread::scope(|scope| {
        let blocked = program.process.hold_output();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut client = Connection::open(main).unwrap();
                    let (mut requests, mut slowest) = (0, Duration::ZERO);
                    while !stop.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        assert_eq!(client.get("/").unwrap().status, 200);
                        slowest = slowest.max(asked.elapsed());
                        requests += 1;
                        // A steady load, not a race with the other tests for the processors.
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    (requests, slowest)
                })
            })
            .collect();
        let began = Instant::now();
        while began.elapsed() < BLOCKED {
            assert_eq!(get(admin, "/health/liveness").status, 200);
            assert_eq!(get(admin, "/health/readiness").status, 200);
            std::thread::sleep(Duration::from_millis(500));
        }
        drop(blocked);
        stop.store(true, Ordering::Relaxed);
        let clients = clients.into_iter().map(|client| client.join().unwrap());
        clients.fold((0, Duration::ZERO), |(all, slow), (requests, slowest)| {
            (all + requests, slow.max(slowest))
        })
    });
    assert!(requests > 2_000, "only {requests} requests");
    // One that waited for the reader would have waited for most of the half minute.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");

    eventually("every line is written or counted as dropped", || {
        let levels = ["error", "warn", "info", "debug", "trace"];
        let series = levels.map(|level| format!("log_lines_total{{level=\"{level}\"}}"));
        let produced: f64 = series.iter().map(|series| program.metric(series)).sum();
        let dropped = program.metric("log_lines_dropped_total");
        assert!(
            dropped > 0.0,
            "nothing was dropped: the reader was not missed"
        );
        program.process.log().len() as f64 + dropped == produced
    });
    let report = program
        .process
        .wait_for_line(|line| line["dropped"].as_u64().is_some());
    assert_eq!(report["level"], "WARN");
    assert_eq!(program.stop().0, Some(0));
}
