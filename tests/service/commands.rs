//! One-off work: the same program with another argument.

use axum_chassis_testing::{Process, Signal};

use crate::program::Setup;

fn command(line: &str) -> Setup {
    Setup::default().variable("ARGUMENTS", line)
}

#[test]
fn a_command_has_settings_log_tasks_and_hooks_and_no_listeners() {
    let ended = command("migrate --set subject.greeting=hi")
        .set("subject.hooks", "store")
        .set("subject.tasks", "polite")
        .launch()
        .wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.message("starting")["command"], "migrate");
    assert_eq!(ended.message("migrated")["greeting"], "hi");
    let messages: Vec<_> = ended
        .log
        .iter()
        .map(|line| line["message"].as_str())
        .collect();
    let at = |wanted| messages.iter().position(|message| *message == Some(wanted));
    assert!(at("migrated") < at("task ends") && at("task ends") < at("hook runs"));
    assert!(at("hook runs") < at("done") && at("listening").is_none());
}

#[test]
fn a_command_that_fails_ends_with_1_and_runs_its_hooks() {
    let ended = command("migrate")
        .set("subject.broken", true)
        .set("subject.hooks", "store")
        .launch()
        .wait();
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.message("command failed")["error"],
        "the command failed: the table is locked"
    );
    ended.message("hook runs");
}

#[test]
fn a_command_with_invalid_settings_exits_with_78_and_an_unknown_command_with_64() {
    let wrong = Setup::default().run("migrate --set subject.start=soon");
    assert_eq!(wrong.code, Some(78));
    assert!(wrong.stderr.contains("subject.start"), "{}", wrong.stderr);
    let unknown = Setup::default().run("migrat");
    assert_eq!(unknown.code, Some(64));
    let said = "error: unknown command \"migrat\", expected one of: migrate, listen, stubborn";
    assert!(unknown.stderr.starts_with(said), "{}", unknown.stderr);
}

#[test]
fn help_lists_the_commands() {
    let help = Setup::default().run("--help").stdout;
    assert!(
        help.contains("Usage: subject [COMMAND] [OPTIONS]"),
        "{help}"
    );
    assert!(
        help.contains("  migrate               Applies the migrations\n"),
        "{help}"
    );
}

fn running(setup: Setup, message: &str) -> Process {
    let process = setup.launch();
    process.wait_for_message(message);
    process
}

#[test]
fn sigterm_shuts_a_command_down_gracefully() {
    let process = running(command("listen").set("subject.hooks", "store"), "listens");
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let milliseconds = ended.message("done")["duration_ms"].to_string();
    let decimals = milliseconds.split_once('.').map(|(_, decimals)| decimals);
    assert!(decimals.unwrap().len() <= 3, "{milliseconds}");
}

#[test]
fn a_command_that_requests_its_own_shutdown_ends_gracefully() {
    let setup = command("listen").set("subject.stop", "nothing left to do");
    let ended = setup.set("subject.hooks", "store").launch().wait();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.message("stopping")["reason"], "nothing left to do");
    ended.message("hook runs");
    ended.message("done");
}

#[test]
fn a_command_that_does_not_stop_is_aborted_at_the_deadline_or_by_a_second_signal() {
    let setup = || command("stubborn").set("shutdown.hook_timeout", "100ms");
    let process = running(setup().set("shutdown.deadline", "300ms"), "runs");
    let ended = process.stop();
    assert_eq!(ended.code, Some(1));
    ended.message("command aborted");

    let process = running(setup().set("shutdown.deadline", "1h"), "runs");
    process.terminate();
    process.wait_for_message("stopping");
    process.signal(Signal::INT);
    assert_eq!(process.wait().code, Some(1));
}
