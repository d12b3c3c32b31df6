//! Fluent Bit's parser, tested on real log lines without Fluent Bit, which has no package here.

use std::process::Command;

use serde_json::Value;

use e2e::root;

use crate::service;

#[test]
fn the_parser_of_the_pipeline_fits_our_lines() {
    let text = std::fs::read_to_string(root().join("k8s/cluster/fluent-bit/fluent-bit.yaml"))
        .expect("a pipeline");
    let pipeline: Value = serde_saphyr::from_str(&text).expect("YAML");
    let parser = &pipeline["parsers"][0];
    assert_eq!(parser["format"], "json");
    let filters = pipeline["pipeline"]["filters"].as_array().expect("filters");
    assert!(
        filters
            .iter()
            .any(|filter| filter["name"] == "parser" && filter["parser"] == parser["name"])
    );

    // It cannot open its port, and logs that.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port().to_string();
    let output = Command::new(service())
        .envs([
            ("LOG_FORMAT", "json"),
            ("APP__SERVER__HOST", "127.0.0.1"),
            ("APP__SERVER__PORT", &port),
            ("APP__ADMIN__PORT", "0"),
        ])
        .output()
        .expect("the service runs");
    let lines = String::from_utf8(output.stdout).expect("text");
    assert!(lines.lines().count() > 1, "{lines}");
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).expect("each line is JSON");
        for (key, value) in event.as_object().expect("an object") {
            assert!(
                !value.is_object() && !value.is_array(),
                "{key} is not flat: {line}"
            );
        }
        let time = event[parser["time_key"].as_str().expect("a key")]
            .as_str()
            .expect("a time");
        assert!(
            fits(parser["time_format"].as_str().expect("a format"), time),
            "{time}"
        );
    }
}

/// Whether `time` is what strptime's `format` reads; `%L` is Fluent Bit's for a fraction of a second.
fn fits(format: &str, time: &str) -> bool {
    let mut rest = time;
    let mut directives = format.chars();
    while let Some(directive) = directives.next() {
        let width = match directive {
            '%' => match directives.next() {
                Some('Y') => 4..=4,
                Some('m' | 'd' | 'H' | 'M' | 'S') => 2..=2,
                Some('L') => 1..=9,
                _ => return false,
            },
            literal => match rest.strip_prefix(literal) {
                Some(after) => {
                    rest = after;
                    continue;
                }
                None => return false,
            },
        };
        let digits = rest
            .bytes()
            .take_while(u8::is_ascii_digit)
            .take(*width.end())
            .count();
        if digits < *width.start() {
            return false;
        }
        rest = &rest[digits..];
    }
    rest.is_empty()
}
