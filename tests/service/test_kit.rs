//! The test kit itself, where what it starts does not do as it should.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use axum_chassis_testing::{Process, Program, Signal};

use crate::program::Setup;

/// The panic's message.
fn panic_of<T>(fails: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(fails)) {
        Ok(_) => panic!("it does not fail"),
        Err(panic) => *panic.downcast::<String>().expect("its words"),
    }
}

fn shell(script: &str) -> Program {
    Program::new("/bin/sh")
        .arguments(["-c", script])
        .timeout(Duration::from_secs(20))
}

fn is_there(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn a_process_that_ends_before_it_is_ready_fails_with_its_exit_code_and_output() {
    let wrong = Setup::default().set("servr.port", 1).launch();
    let said = panic_of(|| wrong.wait_until_ready());
    for part in [
        "sh did not open its admin listener\n",
        "it ended with exit code 78",
        "stderr:   servr.port: unknown setting",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let broken = Setup::default().set("subject.broken", true).launch();
    // As one that listens, and then does not get far.
    broken.admin();
    let began = Instant::now();
    let said = panic_of(|| broken.wait_until_ready());
    assert!(began.elapsed() < Duration::from_secs(10), "{said}");
    for part in [
        "sh did not get ready",
        "it ended with exit code 1",
        "the store cannot be opened: connection refused",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_process_that_never_becomes_ready_fails_with_the_state_of_its_checks() {
    let process = Setup::default()
        .set("health.interval", "10ms")
        .set("health.failures", 1)
        .timeout(Duration::from_secs(3))
        .launch();
    process.wait_until_ready();
    process.request("POST", "/dependency/1", &[], "");
    process.wait_for_message("readiness check is down");
    let began = Instant::now();
    let said = panic_of(|| process.wait_until_ready());
    assert!(began.elapsed() < Duration::from_secs(10), "{said}");
    for part in ["within 3s", "\"refused\"", "it is still running"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Woken by the line, when it gets ready after all.
    process.request("POST", "/dependency/0", &[], "");
    process.wait_until_ready();
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn readiness_is_awaited_during_a_slow_start() {
    let process = Setup::default().set("subject.start", "500ms").launch();
    let admin = process.admin();
    assert_eq!(admin.get("/health/readiness").status, 503);
    process.wait_until_ready();
    assert_eq!(admin.get("/health/readiness").status, 200);
}

#[test]
fn a_line_of_megabytes_is_shown_truncated() {
    let long = r#"printf '{"message":"'; head -c 8000000 /dev/zero | tr '\0' x; printf '"}'"#;
    let process = shell(long).launch();
    let said = panic_of(|| process.wait_for_message("short"));
    assert!(said.len() < 2_000, "{} bytes", said.len());
    assert!(said.contains("xxx ... 7999"), "{said}");
    let ended = process.wait();
    let words = ended.log[0]["message"].as_str().map(str::len);
    assert_eq!((ended.log.len(), words), (1, Some(8_000_000)));
}

#[test]
fn excessive_output_is_dropped_and_fails_the_test() {
    let process = shell(r#"exec yes "$(printf '{"message":"%01000d"}' 7)""#).launch();
    let id = process.id();
    let said = panic_of(|| process.wait());
    assert!(
        said.contains("it printed more than a test can keep"),
        "{said}"
    );
    assert!(!is_there(id));
}

#[test]
fn a_dropped_process_is_killed() {
    let process = Setup::default().launch();
    process.wait_until_ready();
    let id = process.id();
    assert!(is_there(id));
    panic_of(|| {
        let _dropped = process;
        panic!("{}", "a test fails");
    });
    assert!(!is_there(id));
    // One that takes no notice of signals.
    let deaf =
        shell(r#"trap '' TERM; echo '{"message":"deaf"}'; while :; do sleep 1; done"#).launch();
    deaf.wait_for_message("deaf");
    deaf.terminate();
    let id = deaf.id();
    drop(deaf);
    assert!(!is_there(id));
}

#[test]
fn a_process_that_does_not_end_fails_the_test() {
    let process = shell("echo 'some words'; exec sleep 60")
        .timeout(Duration::from_millis(300))
        .launch();
    let said = panic_of(|| process.wait());
    for part in ["did not come to its end within 300ms", "stdout: some words"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn output_that_is_not_a_json_object_is_not_a_log_line() {
    let ended =
        shell(r#"echo hello; echo '{"a":1}'; echo 7; echo '{"a":'; printf '{"a":2}'"#).output();
    assert_eq!(
        ended.log,
        [serde_json::json!({"a": 1}), serde_json::json!({"a": 2})]
    );
    assert_eq!(ended.stdout, "hello\n{\"a\":1}\n7\n{\"a\":\n{\"a\":2}");
}

#[test]
fn a_predicate_for_lines_may_send_requests() {
    let process = Setup::default().launch();
    let line = process.wait_for_line(|line| {
        line["message"] == "started" && process.get("/").status == 200 && !process.log().is_empty()
    });
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_process_ended_by_a_signal_has_no_exit_code() {
    let killed = |process: Process| {
        process.signal(Signal::KILL);
        process
    };
    let process = killed(shell("exec sleep 60").launch());
    assert_eq!(process.wait().code, None);
    let process = killed(shell("exec sleep 60").launch());
    let said = panic_of(|| process.get("/"));
    assert!(said.contains("it was ended by signal 9"), "{said}");
}

#[test]
fn a_request_without_a_response_fails_with_the_output_of_the_service() {
    let process = Setup::default().timeout(Duration::from_secs(2)).launch();
    let said = panic_of(|| process.get("/sleep/60000"));
    for part in [
        "did not answer GET /sleep/60000: nothing came within 2s",
        "\"started\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = panic_of(|| process.get("no path"));
    assert!(
        said.contains("did not answer GET no path: invalid uri"),
        "{said}"
    );
}

#[test]
fn a_header_of_the_program_is_sent_with_each_request_to_the_main_listener_that_does_not_have_it() {
    let process = Setup::default().header("x-request-id", "of-all").start();
    let id = |headers: &[_]| {
        let response = process.process.request("GET", "/", headers, "");
        response.header("x-request-id").map(str::to_owned)
    };
    assert_eq!(id(&[]).as_deref(), Some("of-all"));
    assert_eq!(id(&[("X-Request-ID", "of-one")]).as_deref(), Some("of-one"));
    let admin = process.process.admin().get("/version");
    assert_ne!(admin.header("x-request-id"), Some("of-all"));
}

#[test]
fn a_missing_file_is_reported() {
    let said = panic_of(|| Program::new("/nowhere/orders").launch());
    assert!(
        said.starts_with("cannot start /nowhere/orders: No such file"),
        "{said}"
    );
}

#[test]
#[ignore = "a program that the next test runs"]
fn program_that_shows_what_it_hands_on() {
    print!("{}", Program::new("/usr/bin/env").output().stdout);
}

#[test]
fn settings_of_the_developer_are_not_inherited() {
    let settings = [
        "APP__SERVR__PORT",
        "APP_CONFIG_DIR",
        "DATABASE_URL",
        "KUBERNETES_SERVICE_HOST",
        "LISTEN_FDS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "PORT",
        "REDIS_URL",
        "RUN_ENV",
    ];
    let this = std::env::current_exe().expect("this test");
    let shows = Program::new(this)
        .arguments([
            "--exact",
            "test_kit::program_that_shows_what_it_hands_on",
            "--ignored",
            "--nocapture",
        ])
        .variable("RUST_LOG", "off")
        .variable("OWN", "kept");
    let shows = settings
        .iter()
        .fold(shows, |shows, name| shows.variable(name, "wrong"));
    let said = shows.output().stdout;
    assert!(
        said.contains("\nOWN=kept\n") && said.contains("\nRUST_LOG=info\n"),
        "{said}"
    );
    assert!(!said.contains("wrong"), "{said}");
}

#[test]
fn a_kept_object_is_dropped_after_the_last_process_that_needs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let program = shell("sleep 60").keep(folder);
    let (one, other) = (program.clone().launch(), program.launch());
    drop(one);
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
}
