//! `cargo chassis update`: merges changes of the template into a project.
//!
//! The template of then and that of now are rendered with the project's answers; the difference between the two is
//! what a commit of git's own would be, and `git cherry-pick` brings it into the working tree. Both come from inside
//! the tool, so neither a network nor the project's history is needed.

mod git;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use git::Git;

use crate::answers::{self, SavedAnswers};
use crate::embedded::{self, VERSION};
use crate::new;
use crate::status::status;
use crate::template::Template;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Changes nothing; exits with 1 if there is an update
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = project()?;
    let record = SavedAnswers::read(&folder)?;
    let from = embedded::release(&record.template)?;
    if record.template == VERSION {
        status(
            "Current",
            format_args!("the service has the tool's template version, {VERSION}"),
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        status(
            "Waiting",
            format_args!(
                "an update from {} to {VERSION}; run cargo chassis update",
                record.template
            ),
        );
        return Ok(ExitCode::FAILURE);
    }

    let git = Git::around(&folder)?;
    let changed = git.changed_files()?;
    ensure!(
        changed.is_empty(),
        "these files have uncommitted changes; commit or stash them, so that you can see and undo the update:\n  {}",
        changed.join("\n  ")
    );

    let scratch = tempfile::tempdir()?;
    let template = Template::unpack(&from)?;
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
    // A service that was renamed here and there only is still closer to its old name.
    then.sort_by_key(|(edited, ..)| *edited);
    let (_, name, then) = then.swap_remove(0);
    let now = embedded::current()?;
    let parent = scratch.path().join("now");
    std::fs::create_dir(&parent)?;
    let mut answers = record.answers.clone();
    // The new template stands on the new crate.
    answers.remove("chassis-version");
    let made = new::make(&now, &Template::unpack(&now)?, &parent, &name, answers)?;
    let now = git.tree_of(&made)?;

    status(
        "Merging",
        format_args!(
            "changes of the template from {} to {VERSION} into {name}",
            record.template
        ),
    );
    let merge = git.merge(&then, &now, &format!("axum-chassis template {VERSION}"))?;
    for path in &merge.left_deleted {
        status(
            "Left out",
            format_args!("{path}: the template changed it, and it was deleted here"),
        );
    }
    for (verb, path) in &merge.done {
        status(verb, path);
    }
    if merge.conflicts {
        status("Next", "resolve the conflicts, run cargo test, and commit");
        return Ok(ExitCode::FAILURE);
    }
    status(
        "Next",
        "review with git diff --cached, run cargo test, and commit; git reset --hard undoes the update",
    );
    Ok(ExitCode::SUCCESS)
}

/// The nearest folder from here upwards with a service of the template's.
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
