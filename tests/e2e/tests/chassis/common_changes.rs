//! The changes of docs/common-changes.md, each applied to a generated service.

use std::path::Path;

use e2e::{commit, git, root, said};
use tempfile::TempDir;

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::{chassis, read};

/// The name of the service in the page's diffs.
const NAME: &str = "shop";

/// A section of the page.
struct Change {
    title: String,
    /// Whether the section before has to be applied first.
    follows: bool,
    /// Answers of the service that differ from the defaults.
    answers: &'static [&'static str],
    diff: String,
}

impl Change {
    /// The files that the diff changes, in its order.
    fn files(&self) -> Vec<&str> {
        let heads = self.diff.lines();
        let heads = heads.filter_map(|line| line.strip_prefix("diff --git a/"));
        heads.filter_map(|line| line.split(' ').next()).collect()
    }
}

fn page() -> String {
    read(&root().join("docs/common-changes.md"))
}

fn changes(page: &str) -> Vec<Change> {
    let sections = page.split("\n## ").skip(1);
    let changes = sections.map(|section| {
        let (title, rest) = section.split_once('\n').expect("a title");
        let (text, rest) = rest.split_once("```diff\n").expect("a diff");
        let (diff, _) = rest.split_once("```").expect("its end");
        let answers: &[&str] = if text.contains("`database=sqlite`") {
            &["database=sqlite"]
        } else {
            &[]
        };
        Change {
            title: title.to_owned(),
            follows: text.contains("Apply [the previous diff]"),
            answers,
            diff: diff.to_owned(),
        }
    });
    changes.collect()
}

/// Applies the diff in a repository.
fn apply(folder: &Path, change: &Change) {
    let patch = folder.with_extension("diff");
    std::fs::write(&patch, &change.diff).expect("a file");
    let patch = patch.display().to_string();
    // `git` panics with the message of `git apply`, which names the file and the line.
    eprintln!("{}", change.title);
    git(folder, &["apply", "--index", &patch]);
}

/// Calls a function with each change, applied to a service.
fn with_each(new: impl Fn(&Path, &[&str]) -> Generated, check: impl Fn(&Change, &Generated)) {
    let page = page();
    let mut services: Vec<(&[&str], Generated, TempDir)> = Vec::new();
    let mut before: Option<&Change> = None;
    let changes = changes(&page);
    for change in &changes {
        let known = services.iter().position(|one| one.0 == change.answers);
        let at = known.unwrap_or_else(|| {
            let place = tempfile::tempdir().expect("a folder");
            let service = new(place.path(), change.answers);
            git(&service.folder, &["init", "--quiet"]);
            commit(&service.folder, "generated");
            services.push((change.answers, service, place));
            services.len() - 1
        });
        let service = &services[at].1;
        if change.follows {
            apply(&service.folder, before.expect("a change before"));
        }
        apply(&service.folder, change);
        check(change, service);
        git(&service.folder, &["reset", "--quiet", "--hard"]);
        git(&service.folder, &["clean", "--quiet", "--force", "-d"]);
        before = Some(change);
    }
}

fn vendored(place: &Path, answers: &[&str]) -> Generated {
    let mut new = chassis(place);
    new.args(["new", NAME]).env("CARGO", "true");
    new.args(answers.iter().flat_map(|answer| ["-d", answer]));
    said(&mut new, 0);
    Generated::at(place.join(NAME))
}

/// It passes the commands of its workflow, after Cargo has added new dependencies to Cargo.lock.
fn passes(service: &Generated) {
    service.takes_the_versions_of_this_checkout();
    service.is_green(NAME);
}

#[test]
fn each_change_edits_few_files_and_none_that_is_generated() {
    let page = page();
    let changes = changes(&page);
    assert_eq!(changes.len(), 10);
    for change in &changes {
        let files = change.files();
        assert!((1..=4).contains(&files.len()), "{}", change.title);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| [{}](", change.title)));
        let listed: Vec<&str> = row.expect("a row").split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, files, "{}", change.title);
    }

    let new = |place: &Path, answers: &[&str]| {
        let template = root().join("template");
        let answers = [answers, &["chassis=vendored", "workspace=own"]].concat();
        generate(&template, place, NAME, &answers);
        Generated::at(place.join(NAME))
    };
    with_each(new, |change, service| {
        for file in change.files() {
            let written_by_tools = ["Cargo.lock", "config/schema.json", ".chassis.toml"];
            let is_generated = written_by_tools.contains(&file) || file.starts_with("vendor/");
            let text = read(&service.folder.join(file)).to_lowercase();
            let head: Vec<&str> = text.lines().take(5).collect();
            let head = head.join("\n");
            let marks = ["@generated", "do not edit", "generated by", "written by"];
            let is_marked = marks.iter().any(|mark| head.contains(mark));
            assert!(!is_generated && !is_marked, "{}: {file}", change.title);
        }
    });
}

#[test]
fn a_route_with_a_store_a_metric_and_an_alert_passes_the_commands_of_ci() {
    let place = tempfile::tempdir().expect("a folder");
    let service = vendored(place.path(), &[]);
    commit(&service.folder, "generated");
    let change = changes(&page()).into_iter().next().expect("a change");
    apply(&service.folder, &change);
    passes(&service);
}

/// Run by the nightly CI, because each change is compiled.
mod nightly {
    use super::{passes, vendored, with_each};

    #[test]
    #[ignore = "needs crates that only the changes use"]
    fn each_change_passes_the_commands_of_ci() {
        with_each(vendored, |_, service| passes(service));
    }
}
