//! Observers of requests: each request begins and ends once, whatever its end.

use axum_chassis_testing::Ended;

use crate::client::{Connection, get};
use crate::examples::example;
use crate::http2::{Http2, RST_STREAM, frame};
use crate::program::{Program, Setup, eventually};

/// A request and the status of its end, such as `("GET /sleep/60000", 504)`.
type End = (&'static str, u16);

fn observed() -> Setup {
    Setup::default()
        .variable("OBSERVED", "yes")
        .set("limits.request_timeout", "2s")
        .set("shutdown.deadline", "1s")
        .set("shutdown.hook_timeout", "200ms")
}

fn under_way(program: &Program, requests: f64) {
    eventually("as many requests are under way", || {
        program.metric("http_server_active_requests") == requests
    });
}

/// Each of these requests began once and ended once, and its access line has the observer's field; and there were no others.
fn hold(ended: &Ended, ends: &[End]) {
    let printed = |prefix: &str| -> Vec<&str> {
        let lines = ended.stderr.lines();
        let mut lines: Vec<_> = lines.filter_map(|line| line.strip_prefix(prefix)).collect();
        lines.sort_unstable();
        lines
    };
    let mut begun: Vec<_> = ends
        .iter()
        .map(|(request, _)| (*request).to_owned())
        .collect();
    begun.sort_unstable();
    assert_eq!(printed("begins: "), begun);
    let of_end = |(request, status): &End| format!("{request} {status}");
    let mut over: Vec<_> = ends.iter().map(of_end).collect();
    over.sort_unstable();
    assert_eq!(printed("ends: "), over);

    let lines = ended.log.iter().filter(|line| line["target"] == "access");
    let mut logged: Vec<_> = lines
        .map(|line| format!("{} {}", line["observed"].as_str().unwrap(), line["status"]))
        .collect();
    logged.sort_unstable();
    assert_eq!(logged, over);
}

#[test]
fn a_request_over_http1_is_observed_once_whatever_its_end() {
    let program = observed().start();
    let mut ends: Vec<End> = vec![
        ("GET /status/204", 204),
        ("GET /memory/10", 200),
        ("GET /memory/1000000", 200),
        ("GET /told/200000", 200),
        ("GET /untold/200000", 200),
        ("GET /trailers", 200),
        ("HEAD /memory/20", 200),
        ("GET /nested/file", 200),
        ("GET /nowhere", 404),
        ("GET /number/seven", 400),
        ("GET /fail", 500),
        ("GET /panic", 500),
        ("GET /sleep/60000", 504),
        ("GET /policy/short/60000", 504),
    ];
    for (request, _) in &ends {
        let mut client = Connection::open(program.main).unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.rest();
    }

    let mut nameless = Connection::open(program.main).unwrap();
    nameless.send(b"GET /nameless HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(nameless.answer().unwrap().status, 400);
    ends.push(("GET /nameless", 400));

    let mut slow = Connection::open(program.main).unwrap();
    slow.send(b"POST /slowly/0 HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhalf")
        .unwrap();
    assert_eq!(slow.answer().unwrap().status, 408);
    ends.push(("POST /slowly/0", 408));

    let mut socket = Connection::open(program.main).unwrap();
    socket
        .send(
            b"GET /socket HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert_eq!(socket.answer().unwrap().status, 101);
    drop(socket);
    ends.push(("GET /socket", 101));

    // Clients that disconnect: before the response, during it, and during the request.
    for (head, starts, end) in [
        (
            "GET /policy/poll/60000 HTTP/1.1\r\n",
            false,
            "GET /policy/poll/60000",
        ),
        (
            "GET /untold/50000000 HTTP/1.1\r\n",
            true,
            "GET /untold/50000000",
        ),
        (
            "POST /policy/upload HTTP/1.1\r\ncontent-length: 9\r\n",
            false,
            "POST /policy/upload",
        ),
    ] {
        under_way(&program, 0.0);
        let mut client = Connection::open(program.main).unwrap();
        client
            .send(format!("{head}host: test\r\n\r\n").as_bytes())
            .unwrap();
        match starts {
            true => drop(client.bytes(1000).unwrap()),
            false => under_way(&program, 1.0),
        }
        client.end();
        ends.push((end, 499));
    }
    under_way(&program, 0.0);

    let mut endless = Connection::open(program.main).unwrap();
    endless
        .send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    under_way(&program, 1.0);
    ends.push(("GET /endless", 503));
    hold(&program.process.stop(), &ends);
}

#[test]
fn a_request_over_http2_is_observed_once_whatever_its_end() {
    let program = observed().start();
    let mut client = Http2::with_settings(program.main, &[(4, 10_000_000)]);
    client.window(10_000_000);
    let mut ends: Vec<End> = vec![
        ("GET /status/204", 204),
        ("GET /memory/10", 200),
        ("GET /memory/1000000", 200),
        ("GET /told/200000", 200),
        ("GET /untold/200000", 200),
        ("GET /trailers", 200),
        ("HEAD /memory/20", 200),
        ("GET /nowhere", 404),
        ("GET /fail", 500),
        ("GET /panic", 500),
        ("GET /sleep/60000", 504),
    ];
    let mut stream = 1;
    for (request, _) in &ends {
        let (method, path) = request.split_once(' ').unwrap();
        client.ask(stream, method, path);
        client.until(|frame| frame.stream == stream && frame.flags & 1 == 1);
        stream += 2;
    }

    client.request(stream, "/slowly/0", false);
    client.send(&frame(0, 0, stream, b"half")).unwrap();
    client.until(|frame| frame.stream == stream && frame.flags & 1 == 1);
    ends.push(("POST /slowly/0", 408));

    let cancel = 8_u32.to_be_bytes();
    for (path, ends_with_head, end) in [
        ("/policy/poll/60000", true, "GET /policy/poll/60000"),
        ("/policy/upload", false, "POST /policy/upload"),
        ("/policy/stream", true, "GET /policy/stream"),
    ] {
        stream += 2;
        under_way(&program, 0.0);
        client.request(stream, path, ends_with_head);
        under_way(&program, 1.0);
        client.send(&frame(RST_STREAM, 0, stream, &cancel)).unwrap();
        ends.push((end, 499));
    }
    under_way(&program, 0.0);

    client.get(stream + 2, "/endless");
    under_way(&program, 1.0);
    ends.push(("GET /endless", 503));
    hold(&program.process.stop(), &ends);
}

#[test]
fn a_request_that_is_shed_is_observed_once() {
    let program = observed().set("limits.concurrency", 1).start();
    let mut held = Connection::open(program.main).unwrap();
    held.send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    under_way(&program, 1.0);
    assert_eq!(get(program.main, "/number/1").status, 503);
    let mut client = Http2::open(program.main);
    client.get(1, "/number/2");
    client.until(|frame| frame.stream == 1 && frame.flags & 1 == 1);
    let ends = [
        ("GET /endless", 503),
        ("GET /number/1", 503),
        ("GET /number/2", 503),
    ];
    hold(&program.process.stop(), &ends);
}

#[test]
fn a_panic_of_an_observer_changes_neither_responses_nor_other_observers() {
    let program = observed().start();
    for number in ["13", "14", "15"] {
        let answer = get(program.main, &format!("/number/{number}"));
        assert_eq!((answer.status, &*answer.body), (200, number));
    }
    assert_eq!(program.metric("panics_total"), 2.0);
    let ended = program.process.stop();
    assert_eq!(ended.code, Some(0));
    let ends = ["13", "14", "15"].map(|number| format!("GET /number/{number}"));
    let fields = |path: &str| {
        let line = ended.log.iter().find(|line| line["path"] == path).unwrap();
        [line["observed"].clone(), line["before_panic"].clone()]
    };
    for (end, before) in ends.iter().zip([false, true, true]) {
        let [observed, before_panic] = fields(&end[4..]);
        assert_eq!(
            (observed.as_str(), before_panic.as_bool()),
            (Some(&**end), before.then_some(true))
        );
    }
    let panics: Vec<_> = ended
        .log
        .iter()
        .filter(|line| line["target"] == "panic")
        .collect();
    assert!(
        panics.iter().all(|line| line["request_id"].is_string()),
        "{panics:#?}"
    );
}

#[test]
fn an_unlogged_route_is_observed() {
    let program = observed().start();
    assert_eq!(get(program.main, "/policy/unlogged/0").status, 200);
    let ended = program.process.stop();
    assert!(
        ended
            .stderr
            .contains("\nends: GET /policy/unlogged/0 200\n"),
        "{}",
        ended.stderr
    );
    assert!(!ended.log.iter().any(|line| line["target"] == "access"));
}

#[test]
fn the_example_counts_and_logs_requests_by_the_tier_of_their_tenant() {
    let service = example("observer").start();
    let cases = [
        ("gold-7", 200, "gold"),
        ("free-1", 200, "free"),
        ("other", 401, "none"),
    ];
    for (key, status, _) in cases {
        let response = service.request("GET", "/orders", &[("x-api-key", key)], "");
        assert_eq!(response.status, status, "{key}");
    }
    let metrics = service.admin().get("/metrics");
    for (_, status, tier) in cases {
        let series = format!("tenant_requests_total{{status=\"{status}\",tier=\"{tier}\"}} 1\n");
        assert!(metrics.text().contains(&series), "{}", metrics.text());
    }
    let ended = service.stop();
    let lines = ended.log.iter().filter(|line| line["target"] == "access");
    let tiers: Vec<_> = lines
        .map(|line| line["tenant_tier"].as_str().unwrap())
        .collect();
    assert_eq!(tiers, ["gold", "free", "none"]);
}
