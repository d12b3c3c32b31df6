//! Graceful shutdown: nothing lost that can be kept, nothing that outlives the deadline.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post as on_post;
use axum_chassis::settings::Sources;
use axum_chassis::{Chassis, Service};
use axum_chassis_testing::Signal;
use serde_json::{Value, json};

use crate::client::{Connection, get, post};
use crate::program::{Program, SOON, Setup, eventually};

/// Each way, this many processes are stopped under load.
const STOPS: usize = 20;
/// So many at a time, since most of their time they sleep.
const AT_ONCE: usize = 5;
/// Long enough for every client to hear that it should leave.
const DELAY: &str = "400ms";

fn message<'a>(log: &'a [Value], message: &str) -> &'a Value {
    let line = log.iter().find(|line| line["message"] == message);
    line.unwrap_or_else(|| panic!("no {message:?} in {log:#?}"))
}

/// Stops [`STOPS`] services while `load` runs, which returns how many requests succeeded.
fn stop_under_load(load: impl Fn(SocketAddr, usize, &AtomicBool) -> usize + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < STOPS {
                    let program = Setup::default().set("shutdown.delay", DELAY).start();
                    let (main, stopping) = (program.main, AtomicBool::new(false));
                    let (code, log, done) = std::thread::scope(|clients| {
                        let clients: Vec<_> = (0..6)
                            .map(|client| {
                                let (load, stopping) = (&load, &stopping);
                                clients.spawn(move || load(main, client, stopping))
                            })
                            .collect();
                        std::thread::sleep(Duration::from_millis(300));
                        stopping.store(true, Ordering::SeqCst);
                        let (code, log) = program.stop();
                        let done: usize = clients
                            .into_iter()
                            .map(|client| client.join().unwrap())
                            .sum();
                        (code, log, done)
                    });
                    assert_eq!(code, Some(0), "{log:#?}");
                    assert_eq!(message(&log, "stopped")["aborted"], 0);
                    let logged = log.iter().filter(|line| line["target"] == "access").count();
                    assert_eq!(logged, done, "every request has its answer and its line");
                    assert!(done > 12, "only {done} requests");
                }
            });
        }
    });
}

/// From 0 ms to 2 s.
fn path(client: usize, request: usize) -> String {
    let milliseconds = [0, 1, 0, 20, 0, 2000, 0, 100][(client * 5 + request) % 8];
    format!("/sleep/{milliseconds}")
}

#[test]
fn keep_alive_clients_lose_no_request_during_shutdown() {
    stop_under_load(|address, client, stopping| {
        let mut done = 0;
        let mut connection = None;
        loop {
            let mut open = match connection.take() {
                Some(open) => open,
                // Told to leave, a client goes elsewhere: here there is no elsewhere.
                None if done > 0 && stopping.load(Ordering::SeqCst) => return done,
                None => Connection::open(address).expect("accepted as long as it is open"),
            };
            let path = path(client, done);
            let answer = open
                .get(&path)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(answer.status, 200);
            done += 1;
            if answer.header("connection") != Some("close") {
                connection = Some(open);
            }
        }
    });
}

#[test]
fn http2_clients_lose_no_request_during_shutdown() {
    stop_under_load(|address, client, _| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let done = std::rc::Rc::new(std::cell::Cell::new(0));
            let tasks = tokio::task::LocalSet::new();
            tasks
                .run_until(async {
                    let mut under_way = Vec::new();
                    for request in 0.. {
                        // Not ready any more: the service has said GOAWAY.
                        let Ok(mut ready) = send.clone().ready().await else {
                            break;
                        };
                        if connection.is_finished() {
                            break;
                        }
                        let path = path(client, request);
                        let get = http::Request::get(format!("http://test{path}"))
                            .body(())
                            .unwrap();
                        let Ok((response, _)) = ready.send_request(get, true) else {
                            break;
                        };
                        send = ready;
                        let done = done.clone();
                        under_way.push(tokio::task::spawn_local(async move {
                            match response.await {
                                Ok(response) => {
                                    assert_eq!(response.status(), 200);
                                    let mut body = response.into_body();
                                    while let Some(data) = body.data().await {
                                        data.unwrap_or_else(|error| panic!("{path}: {error}"));
                                    }
                                    done.set(done.get() + 1);
                                }
                                // The service never processed it, and the error code shows that: it is safe to send elsewhere.
                                Err(error) => assert!(
                                    error.is_go_away()
                                        && error.reason() == Some(h2::Reason::NO_ERROR)
                                        || error.reason() == Some(h2::Reason::REFUSED_STREAM),
                                    "{path}: {error}"
                                ),
                            }
                        }));
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    for request in under_way {
                        request.await.unwrap();
                    }
                })
                .await;
            done.get()
        })
    });
}

#[test]
fn readiness_turns_503_first_and_clients_get_connection_close_while_they_are_served() {
    let program = Setup::default().set("shutdown.delay", "2s").start();
    let mut kept = Connection::open(program.main).unwrap();
    assert_eq!(kept.get("/").unwrap().header("connection"), None);
    program.process.terminate();
    program.process.wait_for_message("stopping");
    eventually("not ready", || {
        get(program.admin, "/health/readiness").status == 503
    });
    assert_eq!(get(program.main, "/health/readiness").status, 503);
    assert_eq!(get(program.admin, "/health/liveness").status, 200);
    let answer = kept.get("/").unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    // New connections are still taken.
    assert_eq!(get(program.main, "/").status, 200);
    let ended = program.process.wait();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stopped()["duration_ms"].as_f64().unwrap() >= 2000.0);
    for timed in ["started", "stopped"] {
        let milliseconds = ended.message(timed)["duration_ms"].to_string();
        let decimals = milliseconds.split_once('.').map(|(_, decimals)| decimals);
        assert!(decimals.unwrap().len() <= 3, "{timed}: {milliseconds}");
    }
}

#[test]
fn a_stream_without_an_end_and_an_idle_websocket_are_aborted_at_the_deadline_and_counted() {
    let program = Setup::default()
        .set("shutdown.deadline", "1s")
        .set("shutdown.hook_timeout", "200ms")
        .start();
    let mut stream = Connection::open(program.main).unwrap();
    assert_eq!(stream.get("/endless").unwrap().status, 200);
    let mut socket = Connection::open(program.main).unwrap();
    socket
        .send(
            b"GET /socket HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert_eq!(socket.answer().unwrap().status, 101);
    let began = Instant::now();
    let (code, log) = program.stop();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(code, Some(1));
    assert_eq!(message(&log, "stopped")["aborted"], 2);
    assert_eq!(
        message(&log, "aborting the remaining requests")["reason"],
        "the deadline"
    );
    let line = log
        .iter()
        .find(|line| line["path"] == "/endless")
        .expect("its line");
    assert_eq!(
        (&line["status"], &line["error"]),
        (&json!(503), &json!("aborted at the shutdown deadline"))
    );
}

/// One that misses a change of phase by a hair shows only among many.
#[test]
fn all_of_many_streams_are_aborted_and_logged_before_the_exit() {
    const STREAMS: usize = 500;
    let program = Setup::default()
        .set("shutdown.deadline", "1s")
        .set("shutdown.hook_timeout", "200ms")
        .start();
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut stream = Connection::open(program.main).unwrap();
            assert_eq!(stream.get("/endless").unwrap().status, 200);
            stream
        })
        .collect();
    let (_, log) = program.stop();
    drop(streams);
    let over = log.iter().position(|line| line["message"] == "stopped");
    let cut = log[..over.expect("it stopped")]
        .iter()
        .filter(|line| line["error"] == "aborted at the shutdown deadline");
    assert_eq!(cut.count(), STREAMS);
}

#[test]
fn a_stream_that_observes_the_shutdown_ends_gracefully() {
    let program = Program::start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"GET /polite HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("it is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    let (code, _) = program.stop();
    assert_eq!(client.answer().unwrap().body, "the service stops");
    assert_eq!(code, Some(0));
}

#[test]
fn a_second_signal_aborts_immediately() {
    let program = Setup::default().set("shutdown.delay", "20s").start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"GET /sleep/60000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("it is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    let began = Instant::now();
    program.process.terminate();
    program.process.wait_for_message("stopping");
    program.process.signal(Signal::INT);
    let ended = program.process.wait();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (
            ended.code,
            &ended.message("aborting the remaining requests")["reason"]
        ),
        (Some(1), &json!("SIGINT"))
    );
}

#[test]
fn hooks_run_in_reverse_order_and_end_by_the_deadline() {
    for bad in ["hangs", "blocks"] {
        let hooks = format!("fine,{bad},fails,last");
        let program = Setup::default()
            .set("subject.hooks", hooks)
            .set("shutdown.hook_timeout", "500ms")
            .start();
        let began = Instant::now();
        let (code, log) = program.stop();
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{bad}: {:?}",
            began.elapsed()
        );
        let ran: Vec<_> = log
            .iter()
            .filter(|line| line["message"] == "hook runs")
            .map(|line| &line["hook"])
            .collect();
        assert_eq!(ran, ["last", "fails", bad, "fine"]);
        assert_eq!(
            (code, &message(&log, "stopped")["failed_hooks"]),
            (Some(1), &json!(2))
        );
    }
}

#[test]
fn a_service_with_all_workers_blocked_still_stops_by_its_deadline() {
    let program = Setup::default()
        .set("service.threads", 1)
        .set("shutdown.deadline", "1s")
        .set("shutdown.hook_timeout", "200ms")
        .start();
    let mut client = Connection::open(program.main).unwrap();
    client
        .send(b"GET /block/60000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    eventually("it is under way", || {
        program.metric("http_server_active_requests") == 1.0
    });
    let began = Instant::now();
    let (code, log) = program.stop();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (code, &message(&log, "stopped")["aborted"]),
        (Some(1), &json!(1))
    );
}

#[test]
fn a_signal_during_the_start_shuts_down_gracefully() {
    let process = Setup::default()
        .set("subject.start", "1m")
        .set("subject.hooks", "fine")
        .launch();
    process.wait_for_message("runtime sized");
    process.wait_for_line(|line| line["listener"] == "admin");
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended.message("stopping during the start");
    assert!(!ended.log.iter().any(|line| line["listener"] == "main"));
}

#[test]
fn a_start_that_fails_or_times_out_is_reported_and_runs_its_hooks() {
    let broken = Setup::default()
        .set("subject.broken", true)
        .set("subject.hooks", "fine");
    let slow = Setup::default()
        .set("subject.start", "1m")
        .set("service.start_timeout", "100ms")
        .set("subject.hooks", "fine");
    let cases = [
        (
            broken,
            "the service's start failed: the store cannot be opened: connection refused",
        ),
        (
            slow,
            "the service's start took longer than service.start_timeout (100ms)",
        ),
    ];
    for (setup, error) in cases {
        let ended = setup.launch().wait();
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.message("service failed")["error"], error);
        ended.message("hook runs");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    for listener in ["server", "admin"] {
        let ended = Setup::default()
            .set(&format!("{listener}.port"), address.port())
            .launch()
            .wait();
        let error = ended.message("service failed")["error"].as_str().unwrap();
        assert!(error.contains(&address.to_string()), "{error}");
        assert_eq!(ended.code, Some(1));
    }
}

#[test]
fn without_a_terminal_it_serves_for_the_shutdown_delay_which_a_short_deadline_shortens() {
    for (deadline, delay) in [("25s", 5_000), ("4s", 500)] {
        let program = Setup::default()
            .variable("APP__SHUTDOWN__DELAY", "")
            .set("shutdown.deadline", deadline)
            .start();
        program.process.signal(Signal::TERM);
        let line = program.process.wait_for_message("stopping");
        assert_eq!(line["delay_ms"], delay, "{deadline}");
        // It is not ready any more, and serves.
        assert_eq!(get(program.main, "/health/readiness").status, 503);
        assert_eq!(get(program.main, "/").status, 200);
    }
}

#[test]
fn a_service_that_requests_its_own_shutdown_ends_as_after_sigterm() {
    let setup = Setup::default().set("subject.hooks", "store");
    let program = setup.set("shutdown.delay", "500ms").start();
    let began = Instant::now();
    // A second call does not hurry it, as a second signal would.
    for reason in ["the lease is lost", "twice"] {
        assert_eq!(
            post(program.main, "/stop", "text/plain", reason).status,
            200
        );
    }
    let ended = program.process.wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(began.elapsed() >= Duration::from_millis(500));
    let line = ended.message("stopping");
    assert_eq!(line["reason"], "the lease is lost");
    assert!(line.get("signal").is_none(), "{line}");
    ended.message("hook runs");
    assert_eq!(ended.message("stopped")["aborted"], 0);
}

#[test]
fn a_start_that_requests_a_shutdown_ends_gracefully() {
    let setup = Setup::default().set("subject.hooks", "store");
    let setup = setup.set("subject.stop", "nothing to do");
    let ended = setup.set("subject.start", "1h").launch().wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let line = ended.message("stopping during the start");
    assert_eq!(line["reason"], "nothing to do");
    ended.message("hook runs");
}

#[test]
fn the_first_signal_after_a_stop_of_the_program_joins_it_and_the_second_aborts() {
    let program = Setup::default().set("shutdown.delay", "20s").start();
    post(program.main, "/stop", "text/plain", "the lease is lost");
    program.process.wait_for_message("stopping");
    program.process.terminate();
    program.process.wait_for_message("already stopping");
    program.process.signal(Signal::INT);
    let ended = program.process.wait();
    let line = ended.message("aborting the remaining requests");
    assert_eq!(line["reason"], "SIGINT");
}

#[tokio::test]
async fn the_start_sees_the_chassiss_settings_the_name_and_the_version() {
    let start = async |chassis: Chassis<()>| {
        let limits = &chassis.chassis_settings().limits;
        assert_eq!(limits.request_timeout.to_string(), "7s");
        assert_eq!((chassis.name(), chassis.version()), ("subject", "1.2.3"));
        Ok(Router::new())
    };
    let sources = Sources::empty().set("limits.request_timeout", "7s");
    let service = Service::<()>::new("subject", "1.2.3");
    let running = service.start(sources, start).await.unwrap();
    assert!(running.stop().await.is_graceful());
}

#[tokio::test]
async fn dropping_a_service_within_a_test_stops_it() {
    let (report, stopped) = tokio::sync::oneshot::channel();
    let start = async |chassis: Chassis<()>| {
        chassis.on_stop("report", async move || {
            let _ = report.send(());
            Ok(())
        });
        Ok(Router::new())
    };
    let service = Service::<()>::new("subject", "1.2.3");
    drop(service.start(Sources::empty(), start).await.unwrap());
    let stopped = tokio::time::timeout(SOON, stopped).await;
    stopped.expect("a stop in time").unwrap();
}

#[tokio::test]
async fn a_stop_of_the_program_ends_a_service_within_a_test() {
    let routes = async |chassis: Chassis<()>| {
        let stop = async move || chassis.stop("asked to");
        Ok(Router::new().route("/stop", on_post(stop)))
    };
    let service = || Service::<()>::new("subject", "1.2.3");
    let running = service().start(Sources::empty(), routes).await.unwrap();
    let address = running.address();
    let posted = tokio::task::spawn_blocking(move || post(address, "/stop", "text/plain", ""));
    assert_eq!(posted.await.unwrap().status, 200);
    assert!(running.stopped().await.is_graceful());

    let early = async |chassis: Chassis<()>| {
        chassis.stop("nothing to do");
        std::future::pending().await
    };
    let error = service().start(Sources::empty(), early).await.unwrap_err();
    let expected = "the service stopped during its start: nothing to do";
    assert_eq!(error.to_string(), expected);
}
