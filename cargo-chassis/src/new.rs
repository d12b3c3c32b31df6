//! `cargo chassis new ../orders --run`: generates a service from the embedded template.

mod run;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::answers::VENDORED;
use crate::archive::Archive;
use crate::cargo::cargo;
use crate::embedded;
use crate::rust;
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
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = Target::parse(&args.path)?;
    let current = embedded::current()?;
    let template = Template::unpack(&current)?;
    let mut answers = template.read(&args.define)?;
    template.complete(&mut answers)?;

    let folder = target.path();
    let first = before_its_start(&answers);
    target.generate(&current, &template, answers)?;
    status("Generated", folder.display());
    git_init(&folder);

    status(
        "Building",
        "the service; the first build compiles every dependency: a minute or two",
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

    let first = first.join(" && ");
    if args.run && first.is_empty() {
        return run::run(&target.name, &folder);
    }
    let and = if first.is_empty() { "" } else { " && " };
    status(
        "Built",
        format_args!(
            "the service; to start it: cd {} && {first}{and}cargo run",
            args.path.display()
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// The servers that a service needs, which `--run` does not start, and the commands to prepare them.
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

/// The folder of a service to be.
struct Target {
    name: String,
    parent: PathBuf,
}

impl Target {
    /// Takes a path that does not exist yet, or an empty folder, apart.
    fn parse(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        // Resolves a `..` that the path ends with.
        let path = path.canonicalize().unwrap_or(path);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            bail!(
                "invalid path `{}`: its last part has to be the service's name",
                path.display()
            );
        };
        let name = name
            .to_str()
            .with_context(|| {
                format!(
                    "invalid path `{}`: the service's name has to be UTF-8",
                    path.display()
                )
            })?
            .to_owned();
        match path.read_dir() {
            Ok(mut entries) => ensure!(
                entries.next().is_none(),
                "{} already exists and is not empty; nothing was changed",
                path.display()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot use {}", path.display()));
            }
        }
        Ok(Self {
            name,
            parent: parent.to_owned(),
        })
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Fails, before anything is written, if the compiler is older than the service's `rust-version`.
    fn can_be_compiled(&self, made: &Path) -> anyhow::Result<()> {
        let manifest = std::fs::read_to_string(made.join("Cargo.toml"))?;
        // Where the folder will be, since a `rust-toolchain.toml` further up chooses the compiler.
        let mut around = self.parent.ancestors();
        let around = around.find(|folder| folder.is_dir()).unwrap_or(made);
        match rust::version_in(&manifest)
            .and_then(|needed| rust::too_old(&self.name, needed, around))
        {
            Some(old) => bail!(old),
            None => Ok(()),
        }
    }

    /// Makes the folder, whole or not at all.
    fn generate(
        &self,
        current: &Archive,
        template: &Template,
        answers: Answers,
    ) -> anyhow::Result<()> {
        let scratch = tempfile::tempdir()?;
        let made = make(current, template, scratch.path(), &self.name, answers)?;
        self.can_be_compiled(&made)?;
        // The versions that the template was tested with.
        if let Some(lock) = current.get("Cargo.lock") {
            std::fs::write(made.join("Cargo.lock"), lock)?;
        }

        std::fs::create_dir_all(&self.parent)
            .with_context(|| format!("cannot create {}", self.parent.display()))?;
        // Within one file system, so that the last step is one step.
        let beside = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.name))
            .tempdir_in(&self.parent)
            .with_context(|| format!("cannot write to {}", self.parent.display()))?;
        let mut whole = Archive::default();
        whole.add(&made, "")?;
        whole.unpack("", &beside.path().join("made"))?;
        let folder = self.path();
        if folder.exists() {
            std::fs::remove_dir(&folder)?;
        }
        std::fs::rename(beside.path().join("made"), &folder)
            .with_context(|| format!("cannot create {}", folder.display()))
    }
}

/// Renders the template for a service called `name` into `parent`, with the crate in it if that is the answer.
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
    // Of what `auto` may become, cargo-generate cannot do this one.
    if source == "auto" {
        *source = "vendored".to_owned();
    }
    let vendored = source == "vendored";
    // The first release does not support such a path.
    if vendored && !template.offers("chassis", "vendored") {
        answers.insert("chassis".to_owned(), "path".to_owned());
        answers.insert("chassis-path".to_owned(), VENDORED.to_owned());
    }
    // Its release profiles count, and a Cargo.toml further up does not.
    answers
        .entry("workspace".to_owned())
        .or_insert_with(|| "own".to_owned());
    let folder = template.render(parent, name, &answers)?;
    if vendored {
        vendor::write(current, &folder)?;
    }
    Ok(folder)
}

/// Starts a repository, as `cargo new` does: unless there is one around the folder already.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_empty_is_left_alone() {
        let full = tempfile::tempdir().expect("a folder");
        std::fs::write(full.path().join("mine"), "").expect("a file");
        let refused = Target::parse(full.path())
            .map(|_| ())
            .expect_err("it is not empty");
        assert!(refused.to_string().contains("not empty"), "{refused}");
    }
}
