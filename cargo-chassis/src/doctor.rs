//! `cargo chassis doctor`: lists the outdated parts of a project, each with its remedy.
//!
//! Each part is compared with the newest template. The tool contains this template, so no network is needed.

mod advisories;
mod crates;
mod named;
mod references;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::answers::{self, SavedAnswers};
use crate::outcome::Outcome;
use crate::update;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Prints a JSON report to stdout, which also lists the parts that are current
    #[arg(long)]
    pub(crate) json: bool,
    /// Advisories for the crates of the chassis that are newer than this tool, in the format of its advisories.toml
    #[arg(long, value_name = "FILE")]
    advisories: Option<PathBuf>,
}

/// A part of the project, such as a base image.
#[derive(Debug)]
struct Part {
    name: String,
    version: String,
    /// The newest version in the tool's data.
    newest: String,
    /// The files that name the part. The paths are relative to the project if the files are in it.
    files: Vec<PathBuf>,
    state: State,
    /// Empty if the part is current.
    reason: String,
    remedy: Option<Remedy>,
}

/// The state of a part. With any state except the first two, the command fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Current,
    /// A newer release exists, but the project does not need to use it.
    Newer,
    Behind,
    Unsupported,
    Vulnerable,
}

/// The way to update a part.
#[derive(Clone, Debug)]
enum Remedy {
    Command(String),
    /// A replacement of text in all files of the part.
    Replace {
        from: String,
        to: String,
    },
}

/// Prints the parts. The exit code is 1 if one of them is outdated, unsupported or vulnerable.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let known = advisories::known(args.advisories.as_deref())?;
    let (folder, saved) = project()?;
    let mut parts = crates::parts(&folder, saved.as_ref(), &known)?;
    parts.extend(named::parts(&folder, saved.as_ref())?);

    let count = |state: State| parts.iter().filter(|part| part.state == state).count();
    let newer = count(State::Newer);
    let failed = parts.len() - newer - count(State::Current);
    for part in parts.iter().filter(|part| part.state != State::Current) {
        eprintln!("{part}\n");
    }
    if !args.json {
        println!(
            "parts checked: {}, behind: {failed}, newer available: {newer}",
            parts.len()
        );
    }
    let parts: Vec<Value> = parts.iter().map(Part::json).collect();
    Ok(Outcome {
        code: ExitCode::from(u8::from(failed > 0)),
        report: json!({ "parts": parts, "behind": failed }),
    })
}

/// The folder of the service, with its answers if the template generated it; otherwise that of the nearest Cargo package.
fn project() -> anyhow::Result<(PathBuf, Option<SavedAnswers>)> {
    if let Ok(folder) = update::project() {
        let saved = SavedAnswers::read(&folder);
        let saved = match folder.join(answers::FILE).exists() {
            true => Some(saved?),
            false => saved.ok(),
        };
        return Ok((folder, saved));
    }
    let here = std::env::current_dir()?;
    let mut around = here.ancestors();
    let folder = around.find(|folder| folder.join("Cargo.toml").is_file());
    let folder = folder.with_context(|| {
        format!(
            "no Cargo project found: neither {} nor its parent folders have a Cargo.toml",
            here.display()
        )
    })?;
    Ok((folder.to_owned(), None))
}

/// The text of a file, or `None` if the file cannot be read as text.
fn text(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

// === impl Part ===

impl Part {
    fn json(&self) -> Value {
        let files = self.files.iter().map(|file| file.display().to_string());
        let files: Vec<String> = files.collect();
        let remedy = match &self.remedy {
            None => Value::Null,
            Some(Remedy::Command(command)) => json!({ "command": command }),
            Some(Remedy::Replace { from, to }) => json!({ "replace": from, "with": to }),
        };
        json!({
            "part": self.name,
            "version": self.version,
            "newest": self.newest,
            "files": files,
            "state": self.state.to_string(),
            "reason": self.reason,
            "remedy": remedy,
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.state, self.name, self.version)?;
        for (at, file) in self.files.iter().enumerate() {
            let separator = if at == 0 { " in " } else { ", " };
            write!(f, "{separator}{}", file.display())?;
        }
        write!(f, "\n    {}", self.reason)?;
        match &self.remedy {
            None => Ok(()),
            Some(Remedy::Command(command)) => write!(f, "\n    remedy: {command}"),
            Some(Remedy::Replace { from, to }) => {
                write!(f, "\n    remedy: replace `{from}` with `{to}`")
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Newer => "newer",
            Self::Behind => "behind",
            Self::Unsupported => "unsupported",
            Self::Vulnerable => "vulnerable",
        })
    }
}
