//! A `tracing` layer of another crate beside the log.

use axum_chassis_testing::Ended;

use crate::client::{get, request};
use crate::program::{Setup, TOKEN, bearer};

/// A request logs one event a level, within a span at debug.
fn levels(setup: Setup, filters: &[&str]) -> Ended {
    let program = setup.set("admin.token", TOKEN).start();
    for filter in filters {
        let put = request(program.admin, "PUT", "/log", &[bearer()], filter);
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(get(program.main, &format!("/levels/{filter}")).status, 200);
    }
    program.process.stop()
}

/// The events that are in the log, and those that the other layer received.
fn seen<'l>(ended: &'l Ended, filter: &str) -> (Vec<&'l str>, Vec<&'l str>) {
    let levels = ["warn", "info", "debug", "trace"];
    let is_message = |text: &str, level: &str| text == format!("{level} at {filter}");
    let in_log = levels.into_iter().filter(|level| {
        let messages = ended.log.iter().filter_map(|line| line["message"].as_str());
        messages
            .into_iter()
            .any(|message| is_message(message, level))
    });
    let in_other = levels.into_iter().filter(|level| {
        let mut lines = ended
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("other: "));
        lines.any(|message| is_message(message, level))
    });
    (in_log.collect(), in_other.collect())
}

#[test]
fn another_layer_sees_what_its_filter_lets_through_whatever_the_logs_filter_is() {
    let setup = Setup::default().variable("OTHER", "debug");
    let ended = levels(setup, &["info", "warn", "trace"]);
    let others = vec!["warn", "info", "debug"];
    assert_eq!(seen(&ended, "info"), (vec!["warn", "info"], others.clone()));
    assert_eq!(seen(&ended, "warn"), (vec!["warn"], others.clone()));
    let all = vec!["warn", "info", "debug", "trace"];
    assert_eq!(seen(&ended, "trace"), (all, others));
}

#[test]
fn another_layer_without_a_filter_sees_everything_and_the_log_what_it_wants() {
    let ended = levels(Setup::default().variable("OTHER", "none"), &["warn"]);
    let all = vec!["warn", "info", "debug", "trace"];
    assert_eq!(seen(&ended, "warn"), (vec!["warn"], all));
}

#[test]
fn a_line_has_no_fields_of_a_span_that_only_another_layer_wants() {
    let setup = || Setup::default().variable("OTHER", "trace");
    let field = |filter: &str| {
        let ended = levels(setup(), &[filter]);
        ended
            .message(&format!("info at {filter}"))
            .get("inner")
            .cloned()
    };
    assert_eq!(field("info"), None);
    assert_eq!(field("debug"), Some(7.into()));
}

#[test]
fn a_command_has_the_layer_too() {
    let setup = Setup::default().variable("OTHER", "info");
    let ended = setup.variable("ARGUMENTS", "migrate").launch().wait();
    assert!(
        ended.stderr.contains("other: migrated\n"),
        "{}",
        ended.stderr
    );
    ended.message("migrated");
}
