//! Renders the page as HTML: the order of its sections, and everything except the tables.

use std::fmt;

use serde_json::Value;

use super::html::{HtmlText, Page, Rounded, amount, class, duration, seconds};
use super::resources::Resource;
use super::status::{Point, Status, Stop};

pub(super) fn page(status: &Status<'_>) -> String {
    // Log lines are the largest part of the page, and each quotation mark in them becomes six characters. If the buffer
    // had to grow, this would need the memory of several pages. Memory that is reserved but never written is not used.
    let lines: usize = status.log.iter().map(|line| line.line.len()).sum();
    let about = 32 * 1024 + 600 * status.routes.len() + 2 * lines;
    let mut page = Page(String::with_capacity(about));
    let Status { build, state, .. } = status;
    page.put(format_args!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{name}: {state}</title>\
         <link rel=\"stylesheet\" href=\"page.css\"><noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
         <script src=\"page.js\" defer></script></head><body><header><h1>{name} <small>{version}</small></h1>\
         <p id=\"lost\" class=\"bad\" role=\"status\"></p></header><main>",
        name = HtmlText(build.name),
        version = HtmlText(build.version),
    ));
    page.now(status);
    page.traffic(&status.traffic);
    page.routes(status);
    page.checks(&status.checks);
    page.tasks(&status.tasks);
    page.resources(&status.resources);
    page.filter(&status.log_filter);
    page.lines(&status.log);
    page.settings(&status.settings);
    page.links();
    page.0.push_str("</main></body></html>");
    page.0
}

impl Page {
    fn now(&mut self, status: &Status<'_>) {
        self.section("now", None);
        let good = status.state == "ready";
        self.put(format_args!(
            "<p class=\"state {class}\">{state} for {since}</p><p>Up for {up}. Commit {revision}, built {created} by {rustc}.</p>",
            class = class(good),
            state = status.state,
            since = seconds(status.state_seconds),
            up = seconds(status.up_seconds),
            revision = HtmlText(status.build.revision),
            created = HtmlText(status.build.created),
            rustc = HtmlText(status.build.rustc),
        ));
        self.limits_line(&status.resources);
        if let Some(stop) = &status.stop {
            self.stop(stop);
        }
        self.0.push_str("<div id=\"wrong\" role=\"status\">");
        if status.findings.is_empty() {
            self.0
                .push_str("<p class=\"good\">Nothing is wrong that can be seen from here.</p>");
        } else {
            self.0.push_str("<ul>");
            for finding in &status.findings {
                self.put(format_args!("<li class=\"bad\">{}</li>", HtmlText(finding)));
            }
            self.0.push_str("</ul>");
        }
        self.0.push_str("</div></section>");
    }

    /// The limits of resources, and the reason for the number of threads.
    fn limits_line(&mut self, resources: &[Resource]) {
        self.0.push_str("<p>");
        for resource in resources {
            let Resource { name, value, .. } = resource;
            if let Some(why) = &resource.why {
                self.put(format_args!("{name}: {value}, {}. ", HtmlText(why)));
            }
            if let Some(limit) = resource.limit {
                let (limit, unit) = amount(Some(limit), resource.unit);
                let limit = Rounded(limit);
                self.put(format_args!("{name}: at most {limit}{unit}. "));
            }
        }
        self.0.push_str("</p>");
    }

    fn stop(&mut self, stop: &Stop) {
        self.put(format_args!(
            "<p>{} for {} of {}: {} requests, {} connections and {} tasks are left.</p>",
            stop.phase,
            seconds(stop.seconds),
            seconds(stop.deadline_seconds),
            stop.requests,
            stop.connections,
            stop.tasks,
        ));
    }

    fn traffic(&mut self, points: &[Point]) {
        self.section("traffic", Some("Traffic"));
        self.0.push_str("<div class=\"charts\">");
        let line = |of: fn(&Point) -> Option<f64>| points.iter().map(of).collect::<Vec<_>>();
        self.chart(
            "Requests a second",
            "",
            &[line(|it| Some(it.requests_per_second))],
        );
        self.chart("Failed", " %", &[line(|it| Some(it.errors * 100.0))]);
        self.chart(
            "p50 and p99",
            " ms",
            &[line(|it| it.p50_ms), line(|it| it.p99_ms)],
        );
        self.chart("In flight", "", &[line(|it| Some(it.in_flight))]);
        self.chart("CPU", " cores", &[line(|it| Some(it.cpu_cores))]);
        self.chart("Throttled", " %", &[line(|it| Some(it.throttled * 100.0))]);
        self.0.push_str("</div>");
        let seconds: f64 = points.iter().map(|point| point.seconds).sum();
        self.put(format_args!(
            "<p class=\"soft\">The last {}.</p></section>",
            duration(seconds)
        ));
    }

    /// A chart with several lines over the same period, which ends now at the right edge. Missing values are left out.
    fn chart(&mut self, title: &str, unit: &str, lines: &[Vec<Option<f64>>]) {
        let most = lines
            .iter()
            .flatten()
            .flatten()
            .copied()
            .fold(0.0, f64::max);
        let (last, top) = (LastValues(lines), Rounded(most));
        self.put(format_args!(
            "<figure><svg viewBox=\"0 0 120 40\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{title}: {last}{unit} now, at most {top}{unit}\">"
        ));
        for (number, line) in lines.iter().enumerate() {
            let class = if number == 0 { "first" } else { "second" };
            self.put(format_args!("<polyline class=\"{class}\" points=\""));
            let from = 120_usize.saturating_sub(line.len().saturating_sub(1));
            for (at, value) in line.iter().enumerate() {
                if let Some(value) = value {
                    let height = if most > 0.0 { value / most } else { 0.0 };
                    self.put(format_args!("{},{:.1} ", from + at, 39.0 - height * 38.0));
                }
            }
            self.0.push_str("\"/>");
        }
        self.put(format_args!(
            "</svg><figcaption>{title}: <b>{last}{unit}</b>, at most {top}{unit}</figcaption></figure>"
        ));
    }

    fn filter(&mut self, filter: &Value) {
        self.section("log", Some("Log filter"));
        let now = filter["filter"].as_str().unwrap_or_default();
        self.put(format_args!(
            "<p>In force: <code>{}</code>{}</p><form method=\"post\" action=\"log\">\
             <label>Another <input name=\"filter\" required value=\"{}\"></label>\
             <label>For <select name=\"ttl\"><option>10m</option><option>1h</option><option>8h</option>\
             <option>24h</option></select></label>",
            HtmlText(now),
            Reverts(filter),
            HtmlText(now),
        ));
        // The search is outside the part that is redrawn, so that it keeps its state.
        self.0.push_str(
            "<button>Set</button></form></section>\
             <p id=\"search\" hidden><label>Search the lines below <input type=\"search\"></label></p>",
        );
    }

    fn links(&mut self) {
        self.0
            .push_str("<nav aria-label=\"For machines\"><h2>For machines</h2><p>");
        for link in [
            "status",
            "metrics",
            "config",
            "log",
            "version",
            "health/liveness",
            "health/readiness",
            "health/startup",
        ] {
            self.put(format_args!("<a href=\"{link}\">/{link}</a> "));
        }
        self.0.push_str("</p></nav>");
    }
}

/// The last value of each line.
struct LastValues<'a>(&'a [Vec<Option<f64>>]);

impl fmt::Display for LastValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { " and " })?;
            match line.last() {
                Some(Some(value)) => Rounded(*value).fmt(f)?,
                _ => f.write_str("–")?,
            }
        }
        Ok(())
    }
}

/// The end of a temporary log filter.
struct Reverts<'a>(&'a Value);

impl fmt::Display for Reverts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0["reverts_in_seconds"].as_u64() {
            Some(left) => write!(
                f,
                ", for {} more; then <code>{}</code>",
                seconds(left),
                HtmlText(self.0["settings"].as_str().unwrap_or_default())
            ),
            None => Ok(()),
        }
    }
}
