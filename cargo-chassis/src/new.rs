//! `cargo chassis new ../orders --run`: generates a service from the embedded template.

mod run;
mod target;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;
use target::Target;

use crate::answers::VENDORED;
use crate::archive::Archive;
use crate::cargo::cargo;
use crate::embedded;
use crate::outcome::Outcome;
use crate::status::status;
use crate::template::{Answers, Template};
use crate::vendor;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the new service; the last part of the path is its name
    path: PathBuf,

    /// Answers a question of the template, such as description="Takes orders."; can be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    define: Vec<String>,

    /// Starts the service after the build, until Ctrl-C; with PostgreSQL or Redis, prints the commands instead
    #[arg(long)]
    run: bool,

    /// Writes nothing; lists the files of the service
    #[arg(long, conflicts_with = "run")]
    dry_run: bool,

    /// Prints a JSON report to stdout
    #[arg(long, conflicts_with = "run")]
    pub(crate) json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let target = Target::parse(&args.path)?;
    let current = embedded::current()?;
    let template = Template::read(&current)?;
    let mut answers = template.parse(&args.define)?;
    template.complete(&mut answers)?;

    let folder = target.path();
    let first = before_its_start(&answers);
    let needs_provider = answers.get("auth").is_some_and(|answer| answer == "oidc");
    let has_example = answers.get("example").is_some_and(|answer| answer == "yes");
    let files = target.render(&current, &template, answers)?;
    let replaced = target.replaced(&files);
    let mut next = vec![format!("cd {}", args.path.display())];
    next.extend(first.iter().cloned());
    next.push("cargo run".to_owned());
    let report = json!({
        "dry_run": args.dry_run,
        "name": target.name,
        "folder": folder,
        "files": files.paths().collect::<Vec<_>>(),
        "replaced": replaced,
        "next": next,
    });
    if args.dry_run {
        for path in files.paths() {
            let known = replaced.iter().any(|replaced| replaced == path);
            let verb = if known { "Would replace" } else { "Would add" };
            status(verb, path.display());
        }
        return Ok(Outcome::success(report));
    }
    target.write(&files)?;
    status("Generated", folder.display());
    for path in replaced {
        let path = path.display();
        status(
            "Replaced",
            format_args!("{path}: `git show HEAD:{path}` prints the previous one"),
        );
    }
    git_init(&folder);

    status(
        "Building",
        "the service; the first build compiles every dependency: about a minute",
    );
    let built = cargo(&folder)
        .arg("build")
        .status()
        .context("cannot start cargo")?;
    ensure!(
        built.success(),
        "{} was generated, but does not build",
        folder.display()
    );

    if needs_provider {
        status(
            "Required",
            "config/default.toml: set auth.issuer and auth.audience, which have placeholders",
        );
    } else if args.run && first.is_empty() {
        return run::run(&target.name, &folder, has_example).map(Outcome::from);
    }
    status(
        "Built",
        format_args!("the service; to start it: {}", next.join(" && ")),
    );
    Ok(Outcome::success(report))
}

/// The commands that start and prepare the servers that a service needs, such as PostgreSQL. `--run` does not run them.
fn before_its_start(answers: &Answers) -> Vec<String> {
    let chosen = |name: &str, answer: &str| answers.get(name).is_some_and(|given| given == answer);
    let postgres = chosen("database", "postgres").then_some("postgres");
    let redis = chosen("redis", "yes").then_some("redis");
    let servers: Vec<&str> = [postgres, redis].into_iter().flatten().collect();
    let mut first = Vec::new();
    if !servers.is_empty() && !chosen("deploy", "none") {
        first.push(format!(
            "docker compose up --detach --wait {}",
            servers.join(" ")
        ));
    }
    if postgres.is_some() {
        first.push("cargo run -- migrate".to_owned());
    }
    first
}

/// Renders the template for a service called `name` into `parent`. If the answer to `chassis` is `vendored`, the
/// service also contains the crate.
pub(crate) fn make(
    current: &Archive,
    template: &Template,
    parent: &Path,
    name: &str,
    mut answers: Answers,
) -> anyhow::Result<PathBuf> {
    let source = answers
        .entry("chassis".to_owned())
        .or_insert_with(|| "auto".to_owned());
    // `auto` means `vendored` here, because this tool contains the crate's files. cargo-generate alone cannot do this.
    if source == "auto" {
        *source = "vendored".to_owned();
    }
    let vendored = source == "vendored";
    // The template of the first release does not offer `vendored`, so it gets the path of the vendored crate.
    if vendored && !template.offers("chassis", "vendored") {
        answers.insert("chassis".to_owned(), "path".to_owned());
        answers.insert("chassis-path".to_owned(), VENDORED.to_owned());
    }
    // The service is a workspace of its own, so that its release profiles apply and a Cargo.toml in a folder above does
    // not.
    answers
        .entry("workspace".to_owned())
        .or_insert_with(|| "own".to_owned());
    let folder = template.render(parent, name, &answers)?;
    if vendored {
        vendor::write(current, &folder)?;
    }
    Ok(folder)
}

/// Creates a git repository, as `cargo new` does, unless the folder is already inside one.
fn git_init(folder: &Path) {
    let git = |arguments: &[&str]| {
        let git = Command::new("git")
            .current_dir(folder)
            .args(arguments)
            .output();
        git.is_ok_and(|output| output.status.success())
    };
    if !git(&["rev-parse", "--is-inside-work-tree"]) && !git(&["init"]) {
        status(
            "Warning",
            "git init failed; the service has no git repository",
        );
    }
}
