//! Arbitrary bytes from clients: log lines stay JSON, IDs stay valid, and a log filter applies entirely or not at all.
//!
//! `.ci/run` has 6,000 cases, and each night has 100,000: `PROPTEST_CASES=100000 cargo test --test service bytes`.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::client::{Connection, request as ask};
use crate::program::{Program, Setup, TOKEN, bearer};

/// Header values: mostly valid bytes, and now and then an invalid one.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        b' '..=b'~',
        0x80_u8..=0xff,
        prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\t'), Just(b'<')],
    ];
    let wrong = prop_oneof![Just(0), Just(0x1b), Just(0x7f), Just(b'\r')];
    prop_oneof![
        30 => prop::collection::vec(byte, 0..150),
        1 => prop::collection::vec(wrong, 1..3),
    ]
}

/// Nearly a trace context.
fn traceparent() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        value(),
        "(00|01|ff|0g)-[0-9a-fA-F]{30,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-[ -~]{0,20})?"
            .prop_map(String::into_bytes),
        Just(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_vec()),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => "([a-zA-Z0-9/._~!$&'()*+,;=:@?|{}\\[\\]-]|%[0-9a-fA-F]{2}){0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(b'!'..=0xff, 0..60),
    ]
}

#[derive(Debug)]
struct Request(Vec<u8>);

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![Just("GET".to_owned()), "[A-Za-z!#$%&'*+.^_`|~-]{1,20}"];
    (method, path(), traceparent(), value(), value(), value()).prop_map(
        |(method, path, trace, state, id, agent)| {
            let mut sent = [method.as_bytes(), b" /", &path, b" HTTP/1.1\r\nhost: test"].concat();
            for (name, value) in [
                ("traceparent", trace),
                ("tracestate", state),
                ("x-request-id", id),
                ("user-agent", agent),
            ] {
                sent.extend([b"\r\n", name.as_bytes(), b": ", &value].concat());
            }
            sent.extend(b"\r\n\r\n");
            Request(sent)
        },
    )
}

/// Whether `text` is a valid request id: visible ASCII, at most 128 characters.
fn is_id(text: &str) -> bool {
    let fits = |byte| (b'!'..=b'~').contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

fn is_hex(value: &Value, digits: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    value
        .as_str()
        .is_some_and(|text| text.len() == digits && text.bytes().all(fits))
}

#[test]
fn any_bytes_make_one_line_with_ids_that_are_ids() {
    let program = Program::start();
    let asked = RefCell::new(Vec::new());
    TestRunner::default()
        .run(&request(), |request| {
            let mut client = Connection::open(program.main).unwrap();
            client.send(&request.0).unwrap();
            let answer = client.answer().unwrap();
            match answer.header("x-request-id") {
                Some(id) => {
                    prop_assert!(is_id(id), "{id:?}");
                    asked.borrow_mut().push((id.to_owned(), answer.status));
                }
                // Refused before it was a request.
                None => prop_assert_eq!(answer.status, 400, "{:?}", answer),
            }
            Ok(())
        })
        .unwrap();
    let asked = asked.into_inner();
    assert!(asked.len() > 100, "{} requests are few", asked.len());

    // Each line of it was JSON, or this would not have ended well.
    let (code, log) = program.stop();
    assert_eq!(code, Some(0));
    let mut lines = log.iter().filter(|line| line["status"].is_number());
    for (id, status) in asked {
        let line = lines.next().unwrap();
        assert_eq!(line["request_id"], id, "{line}");
        assert_eq!(line["status"], status, "{line}");
        assert!(is_hex(&line["trace_id"], 32), "{line}");
        assert!(is_hex(&line["span_id"], 16), "{line}");
    }
    assert_eq!(lines.next(), None);
}

fn filter() -> impl Strategy<Value = String> {
    let directive = prop_oneof![
        5 => "(trace|debug|info|warn|error|off)",
        5 => "(access|[a-z_:]{1,20})=(trace|debug|info|warn|error|off)",
        1 => "[a-z_]{0,10}\\[[a-z{}=\"]{0,15}\\]=[a-z]{0,5}",
        1 => "\\PC{0,20}",
    ];
    prop::collection::vec(directive, 0..5).prop_map(|directives| directives.join(","))
}

#[test]
fn any_filter_is_applied_as_it_was_sent_or_rejected() {
    let program = Setup::default().set("admin.token", TOKEN).start();
    let in_force = || {
        let answer = ask(program.admin, "GET", "/log", &[bearer()], "");
        answer.json()["filter"].clone()
    };
    TestRunner::default()
        .run(&filter(), |filter| {
            let before = in_force();
            let answer = ask(program.admin, "PUT", "/log", &[bearer()], &filter);
            let after = in_force();
            match answer.status {
                200 => prop_assert_eq!(&answer.json()["filter"], &after),
                400 => {
                    prop_assert!(!answer.problem()["detail"].as_str().unwrap().is_empty());
                    prop_assert_eq!(before, after);
                }
                _ => prop_assert!(false, "{answer:?}"),
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(program.metric("panics_total"), 0.0);
}
