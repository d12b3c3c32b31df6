//! Background tasks: counted, restarted, shown, notified of shutdown, awaited and aborted.

use serde_json::Value;

use crate::client::get;
use crate::program::{Setup, eventually};

#[test]
fn tasks_that_fail_or_panic_are_logged_counted_shown_and_restarted() {
    let program = Setup::default()
        .set("subject.tasks", "done,fails,panics,polite")
        .start();
    let ends = |task: &str, outcome: &str| {
        format!("background_task_ends_total{{outcome=\"{outcome}\",task=\"{task}\"}}")
    };
    eventually("each is started again", || {
        program.metric(&ends("fails", "failed")) >= 2.0
            && program.metric(&ends("panics", "panicked")) >= 2.0
    });
    assert_eq!(program.metric(&ends("done", "done")), 1.0);
    let running =
        |task: &str| program.metric(&format!("background_task_running{{task=\"{task}\"}}"));
    assert_eq!((running("polite"), running("done")), (1.0, 0.0));

    if cfg!(feature = "admin-page") {
        let page = get(program.admin, "/").body;
        assert!(
            page.contains("<td>polite</td><td class=\"good\">running</td><td class=\"number\" data-value=\"1\">1</td>"),
            "{page}"
        );
        assert!(
            page.contains("no connection to &lt;b&gt;the queue"),
            "{page}"
        );
    }

    let failed = program.process.wait_for_message("background task failed");
    assert_eq!(failed["task"], "fails");
    assert_eq!(failed["error"], "no connection to <b>the queue</b>");
    assert!(
        (750..=1000).contains(&failed["restart_ms"].as_u64().unwrap()),
        "{failed}"
    );
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
}

#[test]
fn a_task_whose_error_panics_while_displayed_is_restarted_and_awaited() {
    let program = Setup::default().set("subject.tasks", "speechless").start();
    let series = "background_task_ends_total{outcome=\"panicked\",task=\"speechless\"}";
    eventually("it is started again", || program.metric(series) >= 2.0);
    let said = program.process.wait_for_message("background task panicked");
    assert_eq!(said["task"], "speechless");
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
}

#[test]
fn a_shutdown_waits_for_tasks_before_it_runs_hooks() {
    let program = Setup::default()
        .set("subject.tasks", "polite,fails")
        .set("subject.hooks", "store")
        .start();
    let (code, log) = program.stop();
    assert_eq!(code, Some(0), "{log:#?}");
    let at = |message: &str| log.iter().position(|line| line["message"] == message);
    assert!(at("stopping") < at("task ends"));
    assert!(at("task ends") < at("hook runs"), "{log:#?}");
}

#[test]
fn a_task_that_does_not_end_is_aborted_at_the_deadline_and_the_exit_code_is_1() {
    let program = Setup::default()
        .set("subject.tasks", "hangs,hangs,polite")
        .set("subject.hooks", "store")
        .set("shutdown.deadline", "400ms")
        .set("shutdown.hook_timeout", "200ms")
        .start();
    let (code, log) = program.stop();
    assert_eq!(code, Some(1), "{log:#?}");
    let line = |message: &str| -> &Value {
        let found = log.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("no `{message}` in {log:#?}"))
    };
    assert_eq!(line("aborting background tasks")["tasks"], 2);
    assert_eq!(line("stopped")["aborted_tasks"], 2);
    line("hook runs");
}
