//! `cargo xtask matrix`: generates a service for every combination of the template's answers, and runs the commands of
//! its workflow and README.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};
use cargo_chassis::template::render_here;
use stores::{Postgres, Redis};

use crate::tools::{build_tool, cargo, succeed};

/// A generated README has fewer lines than this, because people do not read longer ones to the end.
const LINES: usize = 120;

/// A name of the maximum length. If generated code is formatted with this name, it is formatted with shorter ones too.
pub(crate) const NAME: &str = "orders-under-a-name-as-long-as-they-come";

/// The flags of `cargo xtask matrix`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Test only as many combinations as needed to include every answer
    #[arg(long)]
    covering: bool,

    /// Test only combinations with this answer, such as database=sqlite; repeat it for more answers
    #[arg(short, long, value_name = "NAME=VALUE")]
    define: Vec<String>,

    /// Only write the files of each combination to a folder in this one, to compare them with those of another commit
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Answers, each `NAME=VALUE`.
pub(crate) type Combination = Vec<String>;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut wanted = combinations(&options()?);
    if args.covering {
        wanted = covering(&wanted);
    }
    wanted.retain(|one| args.define.iter().all(|answer| one.contains(answer)));
    ensure!(
        !wanted.is_empty(),
        "no combination has {}",
        args.define.join(" and ")
    );

    if let Some(folder) = &args.into {
        for combination in &wanted {
            let place = folder.join(combination.join("+"));
            fs::create_dir_all(&place)?;
            let answers = [&combination[..], &["chassis=registry".to_owned()]].concat();
            render_here(&crate::root().join("template"), &place, NAME, &answers)?;
        }
        return Ok(ExitCode::SUCCESS);
    }

    let servers = Servers::of(&wanted);
    let tool = build_tool()?;
    for (at, combination) in wanted.iter().enumerate() {
        let began = Instant::now();
        let name = combination.join(" ");
        try_out(combination, &servers, &tool).with_context(|| name.clone())?;
        let seconds = began.elapsed().as_secs();
        eprintln!("{:>2} of {}: {name}: {seconds} s", at + 1, wanted.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// The template's questions with a choice of answers, except for the source of the chassis.
fn options() -> anyhow::Result<Vec<Combination>> {
    let config = fs::read_to_string(crate::root().join("template/cargo-generate.toml"))?;
    let config: toml::Table = toml::from_str(&config)?;
    let questions = config.get("placeholders").and_then(toml::Value::as_table);
    let mut options = Vec::new();
    for (name, question) in questions.context("no questions")? {
        let choices = question.get("choices").and_then(toml::Value::as_array);
        if let (Some(choices), true) = (choices, name != "chassis") {
            let choices = choices.iter().filter_map(toml::Value::as_str);
            options.push(choices.map(|choice| format!("{name}={choice}")).collect());
        }
    }
    Ok(options)
}

/// All combinations of the options.
fn combinations(options: &[Combination]) -> Vec<Combination> {
    let Some((choices, rest)) = options.split_first() else {
        return vec![Combination::new()];
    };
    let rest = combinations(rest);
    let with = |choice: &String| {
        let choice = choice.clone();
        rest.iter()
            .map(move |one| [std::slice::from_ref(&choice), one].concat())
    };
    choices.iter().flat_map(with).collect()
}

/// A few combinations that together include every answer. Each step adds the combination with the most answers that are
/// still missing.
fn covering(all: &[Combination]) -> Vec<Combination> {
    let mut missing: BTreeSet<&String> = all.iter().flatten().collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let new = |one: &&Combination| one.iter().filter(|answer| missing.contains(answer)).count();
        let Some(best) = all.iter().max_by_key(new) else {
            break;
        };
        missing.retain(|answer| !best.contains(answer));
        chosen.push(best.clone());
    }
    chosen
}

/// Real servers, for the combinations that need them.
pub(crate) struct Servers {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
}

impl Servers {
    pub(crate) fn of(wanted: &[Combination]) -> Self {
        let any = |answer: &str| wanted.iter().flatten().any(|given| given == answer);
        Self {
            postgres: any("database=postgres").then(Postgres::start),
            redis: any("redis=yes").then(Redis::start),
        }
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, String)> {
        let postgres = self.postgres.as_ref().map(Postgres::url);
        let redis = self.redis.as_ref().map(Redis::url);
        let postgres = postgres.map(|url| ("DATABASE_URL", url));
        postgres
            .into_iter()
            .chain(redis.map(|url| ("REDIS_URL", url)))
    }
}

/// Generates a service in a folder of its name, without building it. The service depends on the chassis in this
/// checkout, so that dependencies are compiled once for all services and this workspace.
pub(crate) fn generate(answers: &[String], tool: &Path, place: &Path) -> anyhow::Result<PathBuf> {
    let here = format!("chassis-path={}", crate::root().display());
    let answers = answers.iter().map(String::as_str);
    let answers = answers.chain(["chassis=path", &here]);
    let mut new = Command::new(tool);
    new.current_dir(place).args(["new", NAME]);
    new.args(answers.flat_map(|answer| ["--define", answer]));
    // The tool would build the service at the end; `true` in place of cargo prevents this.
    succeed(new.env("CARGO", "true"))?;
    Ok(place.join(NAME))
}

fn try_out(combination: &[String], servers: &Servers, tool: &Path) -> anyhow::Result<()> {
    let root = crate::root();
    let place = tempfile::tempdir()?;
    let folder = generate(combination, tool, place.path())?;

    let cargo = |line: &str| {
        let mut cargo = cargo(&folder);
        cargo
            .env("CARGO_TARGET_DIR", root.join("target"))
            .envs(servers.variables())
            .args(line.split(' '));
        succeed(&mut cargo)
    };
    let readme = fs::read_to_string(folder.join("README.md"))?;
    let lines = readme.lines().count();
    ensure!(lines < LINES, "its README has {lines} lines");
    cargo("fmt --check")?;
    cargo("clippy --all-targets -- --deny=warnings")?;
    cargo("test --quiet")?;
    cargo("deny --all-features check licenses bans sources")?;
    ensure!(
        fs::read_to_string(folder.join("README.md"))? == readme,
        "the table of settings in its README is not what its tests write"
    );
    if folder.join("k8s").exists() {
        cargo("build --quiet")?;
        let binary = root.join("target/debug").join(NAME);
        let mut check = Command::new(tool);
        check.current_dir(&folder).arg("check");
        succeed(check.arg("--binary").arg(binary))?;
    }

    if combination.iter().any(|answer| answer == "example=no") {
        without_example(&folder)?;
    }
    Ok(())
}

/// Fails if a file has the example's name, or a word of it.
fn without_example(folder: &Path) -> anyhow::Result<()> {
    let names = [NAME.to_owned(), NAME.replace('-', "_")];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.extend((!path.ends_with(".git")).then_some(path));
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            let text = names.iter().fold(text, |text, name| text.replace(name, ""));
            let file = path.strip_prefix(folder)?.display().to_string();
            for part in [&file, &text] {
                ensure!(!part.contains("orders"), "the example is left in {file}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covering_ones_are_few_and_have_every_answer() {
        let all = combinations(&options().expect("questions"));
        let few = covering(&all);
        let answers = |some: &[Combination]| BTreeSet::from_iter(some.iter().flatten().cloned());
        assert_eq!(answers(&few), answers(&all));
        assert!(
            all.len() >= 288 && few.len() <= 4,
            "{} of {}",
            few.len(),
            all.len()
        );
    }
}
