//! The logs of a whole process: an output that blocks or breaks, panics, libraries that use `log`.
//!
//! The programs are tests of this file that are otherwise ignored, run in a process of their own.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use axum_chassis_logs::{self as logs, Format, Logs, Settings};
use axum_chassis_settings::Size;
use serde_json::Value;
use tracing::{Level, info};

const SOON: Duration = Duration::from_secs(20);

// --- programs ---

fn install(buffer: u64) -> Logs {
    let mut settings = Settings::default();
    settings.format = Format::Json;
    settings.buffer = Size(buffer);
    logs::install(&settings).unwrap()
}

/// Reports on standard error how many of `lines` lines were written.
fn account(logs: &Logs, slowest: Duration) {
    eprintln!(
        "produced={} dropped={} slowest_us={}",
        logs.lines(Level::INFO) + logs.lines(Level::WARN),
        logs.dropped(),
        slowest.as_micros()
    );
}

#[test]
#[ignore = "a program"]
fn program_that_logs_more_than_fits() {
    let logs = install(64 * 1024);
    let slowest = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                scope.spawn(move || {
                    (0..5_000)
                        .map(|number| {
                            let start = Instant::now();
                            info!(
                                producer,
                                number, "a line of an ordinary length, more or less"
                            );
                            start.elapsed()
                        })
                        .max()
                })
            })
            .collect();
        let slowest = producers
            .into_iter()
            .filter_map(|producer| producer.join().unwrap());
        slowest.max().unwrap()
    });
    eprintln!(
        "blocked: dropped={} slowest_us={}",
        logs.dropped(),
        slowest.as_micros()
    );
    // From here on somebody reads.
    assert!(logs.flush(SOON));
    info!("there is room again");
    assert!(logs.flush(SOON));
    account(&logs, slowest);
    std::process::exit(0);
}

#[test]
#[ignore = "a program"]
fn program_whose_reader_goes_away() {
    let logs = install(1 << 20);
    info!("first");
    assert!(logs.flush(SOON));
    let mut go_on = String::new();
    std::io::stdin().read_line(&mut go_on).unwrap();
    // A process that is just being started elsewhere may hold the other end for a moment more.
    while logs.dropped() == 0 {
        info!("is anybody there?");
        assert!(logs.flush(SOON), "a broken output must not delay anything");
    }
    let before = logs.lines(Level::INFO) + logs.lines(Level::WARN) - logs.dropped();
    for number in 0..100 {
        info!(number, "into the void");
        assert!(logs.flush(SOON), "a broken output must not delay anything");
    }
    let after = logs.lines(Level::INFO) + logs.lines(Level::WARN) - logs.dropped();
    eprintln!("written_to_nobody={}", after - before);
    std::process::exit(0);
}

#[test]
#[ignore = "a program"]
fn program_that_panics_in_a_thread_and_goes_on() {
    let logs = install(1 << 20);
    let panicked = std::thread::Builder::new()
        .name("worker-7".to_owned())
        .spawn(|| panic!("no luck\nwith {}", 7))
        .unwrap()
        .join();
    assert!(panicked.is_err());
    assert_eq!(logs.panics(), 1);
    info!("still here");
    logs.flush(SOON);
    std::process::exit(0);
}

#[test]
#[ignore = "a program"]
fn program_that_dies_of_a_panic() {
    let _logs = install(1 << 20);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        // At once, as a process would end that aborts: nothing is left to write the line later.
        std::process::exit(101);
    }));
    panic!("the last words");
}

#[test]
#[ignore = "a program"]
fn program_that_uses_log() {
    let logs = install(1 << 20);
    log::info!(target: "some::library", "through log: {}", 1);
    log::debug!(target: "some::library", "not wanted");
    logs.set_filter("warn,some::library=debug").unwrap();
    log::debug!(target: "some::library", "wanted now");
    log::info!(target: "another", "not wanted now");
    let text = String::from("c-1");
    log::warn!(target: "some::library", order = 7, share = 0.5, open = true, customer = text.as_str(), level = "x",
        why:? = Some("a\"b"); "with key-values");
    logs.flush(SOON);
    std::process::exit(0);
}

// --- tests ---

/// Runs one of the programs above.
fn start(program: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            program,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Its lines of JSON, what it said on standard error, and how it ended.
fn finish(mut child: Child) -> (Vec<Value>, String, ExitStatus) {
    let text = read_all(child.stdout.take());
    let errors = read_all(child.stderr.take());
    let status = child.wait().unwrap();
    (json_lines(&text), errors, status)
}

/// The test harness writes some text of its own first, the last of it without a line end.
fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.find('{').map(|start| &line[start..]))
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn number(text: &str, key: &str) -> u64 {
    let value = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key));
    value.expect(text).trim_start_matches('=').parse().unwrap()
}

#[test]
fn a_blocked_output_delays_no_request_and_every_line_is_accounted_for() {
    let mut child = start("program_that_logs_more_than_fits");
    // Until this line comes, nobody reads what the program writes.
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut blocked = String::new();
    errors.read_line(&mut blocked).unwrap();
    assert!(number(&blocked, "dropped") > 10_000, "{blocked}");
    assert!(
        number(&blocked, "slowest_us") < 1_000_000,
        "a line waited for the output: {blocked}"
    );

    let text = read_all(child.stdout.take());
    let mut account = String::new();
    errors.read_to_string(&mut account).unwrap();
    assert!(child.wait().unwrap().success(), "{account}");
    let lines = json_lines(&text);
    let dropped = number(&account, "dropped");
    assert_eq!(lines.len() as u64 + dropped, number(&account, "produced"));
    let reported: u64 = lines
        .iter()
        .filter_map(|line| line["dropped"].as_u64())
        .sum();
    assert_eq!(reported, dropped, "what was dropped is reported, once");
    assert_eq!(lines.len() as u64 + dropped, 20_001 + reports(&lines));
    assert_eq!(lines.last().unwrap()["message"], "there is room again");
}

fn reports(lines: &[Value]) -> u64 {
    lines.iter().filter(|line| line["dropped"].is_u64()).count() as u64
}

#[test]
fn a_broken_output_is_survived_and_counted() {
    let mut child = start("program_whose_reader_goes_away");
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains('{') {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "no line came");
    }
    drop(stdout);
    drop(
        child
            .stdin
            .take()
            .map(|mut stdin| std::io::Write::write_all(&mut stdin, b"go on\n")),
    );
    let errors = read_all(child.stderr.take());
    assert!(child.wait().unwrap().success(), "{errors}");
    assert_eq!(number(&errors, "written_to_nobody"), 0);
}

#[test]
fn a_panic_is_one_line_and_the_process_goes_on() {
    let (lines, errors, status) = finish(start("program_that_panics_in_a_thread_and_goes_on"));
    assert!(status.success(), "{errors}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let panic = &lines[0];
    assert_eq!(panic["level"], "ERROR");
    assert_eq!(panic["target"], "panic");
    assert_eq!(panic["message"], "panicked: no luck\nwith 7");
    assert_eq!(panic["thread"], "worker-7");
    assert!(panic["location"].as_str().unwrap().contains("process.rs:"));
    assert!(
        panic["backtrace"]
            .as_str()
            .unwrap()
            .contains("program_that_panics")
    );
    assert_eq!(lines[1]["message"], "still here");
    assert!(
        !errors.contains("no luck"),
        "logged once, as JSON: {errors}"
    );
}

#[test]
fn the_last_lines_of_a_process_are_written() {
    let (lines, _, status) = finish(start("program_that_dies_of_a_panic"));
    assert_eq!(status.code(), Some(101));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], "panicked: the last words");
}

#[test]
fn libraries_that_use_log_are_logged() {
    let (lines, errors, status) = finish(start("program_that_uses_log"));
    assert!(status.success(), "{errors}");
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (&line["target"], &line["level"], &line["message"]))
        .map(|(target, level, message)| format!("{target} {level} {message}"))
        .collect();
    assert_eq!(
        seen,
        [
            r#""some::library" "INFO" "through log: 1""#,
            r#""some::library" "DEBUG" "wanted now""#,
            r#""some::library" "WARN" "with key-values""#
        ]
    );
    for (key, value) in [
        ("order", Value::from(7)),
        ("share", 0.5.into()),
        ("open", true.into()),
        ("customer", "c-1".into()),
        ("field.level", "x".into()),
        ("why", r#"Some("a\"b")"#.into()),
    ] {
        assert_eq!(lines[2][key], value, "{key}");
    }
}
