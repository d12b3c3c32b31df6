//! `cargo chassis update`: merges changes of the template into a project.
//!
//! The project's template and the newest template are rendered with the project's answers. The difference between the
//! two is stored as a commit, and `git cherry-pick` merges this commit into the working tree. The tool contains both
//! templates, so neither a network nor the project's history is needed.

mod git;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use git::{Git, Merge};
use serde_json::{Value, json};

use crate::answers::{self, SavedAnswers};
use crate::embedded::{self, VERSION};
use crate::new;
use crate::outcome::Outcome;
use crate::status::status;
use crate::template::Template;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Changes nothing; exits with 1 if there is an update
    #[arg(long)]
    check: bool,

    /// Changes nothing; lists the files that would change, and the conflicts
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,

    /// Prints a JSON report to stdout
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let folder = project()?;
    let record = SavedAnswers::read(&folder)?;
    let from = embedded::release(&record.template)?;
    let versions = json!({ "from": record.template, "to": VERSION });
    if record.template == VERSION {
        status(
            "Current",
            format_args!("the service has the tool's template version, {VERSION}"),
        );
        return Ok(Outcome::success(versions));
    }
    if args.check {
        status(
            "Waiting",
            format_args!(
                "an update from {} to {VERSION}; run cargo chassis update",
                record.template
            ),
        );
        return Ok(Outcome {
            code: ExitCode::FAILURE,
            report: versions,
        });
    }

    let git = Git::around(&folder)?;
    let changed = git.changed_files()?;
    ensure!(
        changed.is_empty(),
        "these files have uncommitted changes; commit or stash them, so that you can see and undo the update:\n  {}",
        changed.join("\n  ")
    );

    let scratch = tempfile::tempdir()?;
    let template = Template::read(&from)?;
    let mut names = vec![record.name.clone()];
    names.extend(renamed(&folder, &record.name));
    let mut then = Vec::new();
    for name in names {
        let parent = scratch.path().join(format!("then-{name}"));
        std::fs::create_dir(&parent)?;
        let made = new::make(&from, &template, &parent, &name, record.answers.clone())?;
        let tree = git.tree_of(&made)?;
        let edited = git.files_unlike(&tree)?;
        then.push((edited, name, tree));
    }
    // A service may have been renamed in some files only. The name for which fewer files differ from the template is
    // used.
    then.sort_by_key(|(edited, ..)| *edited);
    let (_, name, then) = then.swap_remove(0);
    let now = embedded::current()?;
    let parent = scratch.path().join("now");
    std::fs::create_dir(&parent)?;
    let mut answers = record.answers.clone();
    // The new template needs the new version of the crate, not the saved one.
    answers.remove("chassis-version");
    let made = new::make(&now, &Template::read(&now)?, &parent, &name, answers)?;
    let now = git.tree_of(&made)?;

    status(
        "Merging",
        format_args!(
            "changes of the template from {} to {VERSION} into {name}",
            record.template
        ),
    );
    let change = git.change(&then, &now, &format!("axum-chassis template {VERSION}"))?;
    let merge = if args.dry_run {
        git.preview(&change)?
    } else {
        git.merge(&change)?
    };
    for path in &change.left_deleted {
        status(
            "Left out",
            format_args!("{path}: the template changed it, and it was deleted here"),
        );
    }
    for (verb, path) in &merge.done {
        status(verb, path);
    }
    let mut report = report(&merge, &change.left_deleted, versions);
    report["dry_run"] = args.dry_run.into();
    if args.dry_run {
        status("Unchanged", "this was a dry run");
    } else if merge.conflicts {
        status("Next", "resolve the conflicts, run cargo test, and commit");
    } else {
        status(
            "Next",
            "review with git diff --cached, run cargo test, and commit; git reset --hard undoes the update",
        );
    }
    Ok(Outcome {
        code: ExitCode::from(u8::from(merge.conflicts)),
        report,
    })
}

/// The JSON report: the versions, and the lists of files `added`, `changed`, `deleted`, `conflict` and `left_out`.
fn report(merge: &Merge, left_out: &[String], mut report: Value) -> Value {
    for kind in ["Added", "Changed", "Deleted", "Conflict"] {
        let files = merge.done.iter().filter(|(verb, _)| *verb == kind);
        let files: Vec<&str> = files.map(|(_, path)| path.as_str()).collect();
        report[kind.to_lowercase()] = files.into();
    }
    report["left_out"] = left_out.into();
    report
}

/// The nearest folder, from the working directory upwards, with a service that was generated from the template.
pub(crate) fn project() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().find(|folder| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml"));
        folder.join(answers::FILE).is_file()
            || manifest.is_ok_and(|text| answers::dependency(&text).is_some())
    });
    let found = found.with_context(|| {
        format!(
            "no axum-chassis service found: neither {} nor its parent folders have a {} or a Cargo.toml that depends on axum-chassis",
            here.display(),
            answers::FILE
        )
    })?;
    Ok(found.to_owned())
}

/// The package's current name, if it was renamed.
fn renamed(folder: &Path, first: &str) -> Option<String> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = toml::from_str(&manifest).ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    (name != first).then(|| name.to_owned())
}
