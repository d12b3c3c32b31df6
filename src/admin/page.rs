//! `/`: a page that a person can read, without scripts and without assets from elsewhere.

use std::fmt::{self, Write};

use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;

use super::{Admin, Build};
use crate::background::State;
use crate::settings::Duration;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\"><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}\
.good{color:#18703a}.bad{color:#b3261e}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}\
th,td{border-color:#444}a{color:#8ab4f8}.good{color:#6fce91}.bad{color:#f28b82}}</style>";

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    Html(render(admin)).into_response()
}

fn render(admin: &Admin) -> String {
    let report = admin.readiness.report();
    let Build {
        name,
        version,
        revision,
        created,
        rustc,
    } = &admin.build;
    let uptime = Duration::from_secs(admin.started.elapsed().as_secs());
    let live = match admin.heartbeat.stalled() {
        None => "live".to_owned(),
        Some(silent) => format!("stalled for {}", Duration::from_secs(silent.as_secs())),
    };
    let mut page = String::from(HEAD);
    // Writing into a string does not fail.
    let _ = write!(
        page,
        "<title>{name}</title></head><body><h1>{name} <small>{version}</small></h1><table>\
         <tr><th>State</th><td class=\"{class}\">{status}</td></tr>\
         <tr><th>Runtime</th><td class=\"{live_class}\">{live}</td></tr><tr><th>Up for</th><td>{uptime}</td></tr>\
         <tr><th>Commit</th><td>{revision}</td></tr><tr><th>Built</th><td>{created}</td></tr>\
         <tr><th>Compiler</th><td>{rustc}</td></tr></table>",
        name = Escaped(name),
        version = Escaped(version),
        revision = Escaped(revision),
        created = Escaped(created),
        rustc = Escaped(rustc),
        class = class(report.ready),
        status = report.status(),
        live_class = class(live == "live"),
    );
    if !report.checks.is_empty() {
        page.push_str("<h2>Readiness checks</h2><table><tr><th>Check</th><th>State</th><th>Took</th><th>Error</th></tr>");
        for (check, verdict) in &report.checks {
            let _ = write!(
                page,
                "<tr><td>{}</td><td class=\"{}\">{}</td><td>{:.1} ms</td><td>{}</td></tr>",
                Escaped(check),
                class(verdict.up),
                if verdict.up { "up" } else { "down" },
                verdict.took.as_secs_f64() * 1e3,
                Escaped(verdict.error.as_deref().unwrap_or_default()),
            );
        }
        page.push_str("</table>");
    }
    let tasks = admin.tasks.report();
    if !tasks.is_empty() {
        page.push_str("<h2>Background tasks</h2><table><tr><th>Task</th><th>State</th><th>Starts</th><th>Last error</th></tr>");
        for task in tasks {
            let _ = write!(
                page,
                "<tr><td>{}</td><td class=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
                Escaped(&task.name),
                class(task.state != State::Pausing),
                task.state.word(),
                task.starts,
                Escaped(task.error.as_deref().unwrap_or_default()),
            );
        }
        page.push_str("</table>");
    }
    page.push_str("<h2>More</h2><ul>");
    for (link, says) in [
        ("health/liveness", "does the runtime run"),
        ("health/readiness", "should requests be sent here"),
        (
            "health/startup",
            "has the service's own start come to its end",
        ),
        ("metrics", "for Prometheus"),
        ("config", "the settings in force, and where each comes from"),
        (
            "log",
            "the log filter; PUT another, for a while with ?ttl=10m",
        ),
        ("version", "what was built, from what"),
    ] {
        let _ = write!(page, "<li><a href=\"{link}\">/{link}</a>: {says}</li>");
    }
    page.push_str("</ul></body></html>");
    page
}

fn class(good: bool) -> &'static str {
    if good { "good" } else { "bad" }
}

/// Text as HTML: an error's words are data, never markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let text = Escaped("<script>alert(\"&\")</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;"
        );
    }
}
