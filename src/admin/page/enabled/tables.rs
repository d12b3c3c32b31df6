//! The sections of the page that are tables.

use super::html::{HtmlText, Page, Shown, amount, class, duration, seconds, up};
use super::resources::Resource;
use super::status::{CheckStatus, LogLine, Setting, Status, TaskStatus};
use crate::health::Role;

/// Parts of a JSON log line: its start, the key of the backtrace (which the page collapses), and the key that follows
/// the backtrace.
const TIME: &str = "{\"timestamp\":\"";
const BACKTRACE: &str = ",\"backtrace\":\"";
const IDS: &str = "\",\"request_id\"";

impl Page {
    pub(super) fn routes(&mut self, status: &Status<'_>) {
        self.section("by-route", Some("Routes"));
        self.put(format_args!(
            "<p class=\"soft\">The last {}. Failed are those with a 5xx.</p>",
            duration(status.routes_seconds)
        ));
        let columns = [
            "Route",
            "Requests#",
            "A second#",
            "Failed#",
            "p50#",
            "p99#",
            "Sent#",
        ];
        self.table("routes", &columns);
        for route in &status.routes {
            let name = HtmlText(&route.route);
            self.put(format_args!("<tr><td><code>{name}</code></td>"));
            self.number(route.requests.into(), "");
            self.number(route.requests_per_second, "");
            self.number(route.errors * 100.0, " %");
            self.number(route.p50_ms, " ms");
            self.number(route.p99_ms, " ms");
            self.number(route.response_bytes as f64 / 1e3, " kB");
            self.put(format_args!("</tr>"));
        }
        self.end_table();
    }

    pub(super) fn checks(&mut self, checks: &[CheckStatus]) {
        if checks.is_empty() {
            return;
        }
        self.section("checks", Some("Readiness checks"));
        let columns = [
            "Check",
            "State",
            "Took#",
            "Failed runs#",
            "Last error",
            "Before that",
        ];
        self.table("check", &columns);
        for check in checks {
            self.put(format_args!(
                "<tr><td>{}{}</td><td class=\"{}\">{} for {}</td>",
                HtmlText(&check.name),
                match check.role {
                    Role::Gate => "",
                    Role::Inform => " (informs)",
                },
                class(check.up),
                up(check.up),
                seconds(check.seconds)
            ));
            self.number(check.duration_ms, " ms");
            self.number(check.failures as f64, "");
            match &check.last_failure {
                None => self.put(format_args!("<td></td><td>")),
                Some(last) => self.put(format_args!(
                    "<td>{}, {} ago</td><td>",
                    HtmlText(&last.error),
                    seconds(last.seconds_ago)
                )),
            }
            for change in check.history.iter().rev().skip(1) {
                let ago = seconds(change.seconds_ago);
                self.put(format_args!("{} {ago} ago; ", up(change.up)));
            }
            self.put(format_args!("</td></tr>"));
        }
        self.end_table();
    }

    pub(super) fn tasks(&mut self, tasks: &[TaskStatus]) {
        if tasks.is_empty() {
            return;
        }
        self.section("tasks", Some("Background tasks"));
        self.table("task", &["Task", "State", "Starts#", "Last error"]);
        for task in tasks {
            self.put(format_args!(
                "<tr><td>{}</td><td class=\"{}\">{}</td>",
                HtmlText(&task.name),
                class(task.state != "pausing"),
                task.state
            ));
            self.number(task.starts as f64, "");
            let error = HtmlText(task.error.as_deref().unwrap_or_default());
            self.put(format_args!("<td>{error}</td></tr>"));
        }
        self.end_table();
    }

    pub(super) fn resources(&mut self, resources: &[Resource]) {
        self.section("resources", Some("Resources"));
        self.table("resource", &["What", "Now#", "Limit#", "Why"]);
        for resource in resources {
            self.put(format_args!("<tr><td>{}</td>", HtmlText(&resource.name)));
            for value in [Some(resource.value), resource.limit] {
                let (value, unit) = amount(value, resource.unit);
                self.number(value, unit);
            }
            let why = HtmlText(resource.why.as_deref().unwrap_or_default());
            self.put(format_args!("<td>{why}</td></tr>"));
        }
        self.end_table();
    }

    pub(super) fn lines(&mut self, lines: &[LogLine]) {
        self.section("lines-kept", Some("Warnings and errors"));
        self.table("lines", &["Time", "Level", "Line"]);
        for LogLine { level, line } in lines {
            let (time, line) = match line
                .strip_prefix(TIME)
                .and_then(|line| line.split_once('"'))
            {
                Some((time, line)) => (time, line.trim_start_matches(',')),
                None => ("", line.as_str()),
            };
            let class = if *level == "ERROR" { "bad" } else { "" };
            self.put(format_args!(
                "<tr><td>{}</td><td class=\"{class}\">{level}</td><td><code>",
                HtmlText(time)
            ));
            match line.split_once(BACKTRACE) {
                None => self.put(format_args!("{}</code></td></tr>", HtmlText(line))),
                Some((line, backtrace)) => {
                    let end = backtrace.find(IDS).unwrap_or(backtrace.len());
                    let (backtrace, ids) = backtrace.split_at(end);
                    self.put(format_args!(
                        "{} {}</code><details><summary>Backtrace</summary><pre>{}</pre></details></td></tr>",
                        HtmlText(line),
                        HtmlText(ids),
                        HtmlText(&backtrace.replace("\\n", "\n"))
                    ));
                }
            }
        }
        self.end_table();
    }

    pub(super) fn settings(&mut self, settings: &[Setting]) {
        self.section("settings", Some("Settings"));
        self.table("setting", &["Setting", "Value", "From"]);
        for setting in settings {
            self.put(format_args!(
                "<tr><td><code>{}</code></td><td><code>{}</code></td><td>{}</td></tr>",
                HtmlText(&setting.key),
                Shown(&setting.value),
                HtmlText(&setting.origin)
            ));
        }
        self.end_table();
    }
}
