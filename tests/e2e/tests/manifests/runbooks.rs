//! The runbooks: every file, metric and command that they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::{files, root};

use crate::rendered;

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let paths = files(folder, &[]).into_iter().map(|file| folder.join(file));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

fn pages() -> Vec<(PathBuf, String)> {
    texts(&rendered().join("docs/runbooks"))
}

/// Every text between `before` and `after`.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
    let starts = text.split(before).skip(1);
    starts
        .filter_map(|rest| Some(rest.split_once(after)?.0))
        .collect()
}

#[test]
fn a_runbook_has_symptoms_first_looks_remedies_and_warnings() {
    for (page, text) in pages() {
        for part in [
            "**Users feel**: ",
            "**Look first**:",
            "**What helps**",
            "**What not to do**: ",
        ] {
            assert!(text.contains(part), "{}: no {part}", page.display());
        }
    }
}

#[test]
fn a_runbook_links_to_existing_pages_and_panels() {
    let dashboard = read(&root().join("k8s/components/dashboard/dashboard.json"));
    let panels: BTreeSet<&str> = between(&dashboard, "\"title\": \"", "\"")
        .into_iter()
        .collect();
    let mut seen = 0;
    for (page, text) in pages() {
        for link in between(&text, "](", ")") {
            assert!(
                page.with_file_name(link).is_file(),
                "{}: {link}",
                page.display()
            );
        }
        let shown = text
            .lines()
            .find(|line| line.starts_with("On the dashboard: "));
        for panel in between(shown.expect("a line about the dashboard"), " *", "*") {
            assert!(
                panels.contains(panel),
                "{}: no panel {panel}",
                page.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// A page that names a log line which no version writes is worse than no page.
#[test]
fn a_runbook_searches_for_log_lines_that_the_chassis_writes() {
    let crates = ["src", "axum-chassis-logs/src", "axum-chassis-server/src"];
    let sources: String = crates
        .iter()
        .flat_map(|sources| texts(&root().join(sources)))
        .map(|(_, text)| text)
        .collect();
    let mut seen = 0;
    for (page, text) in pages() {
        for phrase in between(&text, "| grep '", "'") {
            assert!(
                sources.contains(phrase),
                "{}: nothing writes `{phrase}`",
                page.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn every_runbook_has_an_alert() {
    let alerts = read(&root().join("k8s/components/alerts/alerts.yaml"));
    let alerts: BTreeSet<&str> = between(&alerts, "- alert: ", "\n").into_iter().collect();
    let stem = |page: &Path| {
        page.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let pages: BTreeSet<String> = pages().iter().map(|(page, _)| stem(page)).collect();
    assert_eq!(pages, alerts.into_iter().map(str::to_owned).collect());
}
