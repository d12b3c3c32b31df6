//! A template: its questions, and the project that it renders from the answers.
//!
//! cargo-generate renders it. It runs in a separate process with few environment variables and without the user's
//! configuration, so that the result depends only on the template and the answers. In this process, it would also print
//! its own messages.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use dialoguer::{Input, Select};
use regex::Regex;
use tempfile::TempDir;

use crate::archive::Archive;

/// Answers by the name of the question.
pub type Answers = BTreeMap<String, String>;

/// A template in a folder of its own.
#[derive(Debug)]
pub struct Template {
    folder: TempDir,
    questions: Vec<Question>,
}

/// The template's questions.
#[derive(Debug)]
struct Question {
    name: String,
    /// The question's text, in one line.
    prompt: String,
    default: String,
    /// The possible answers; empty if the answer is free text.
    choices: Vec<String>,
    pattern: Option<Regex>,
    /// The question is asked only if another question has this answer.
    when: Option<(String, String)>,
}

// === impl Template ===

impl Template {
    /// Unpacks the template in the tool's archive to a temporary folder.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is not a template.
    pub fn unpack(current: &Archive) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        current
            .unpack("template", folder.path())
            .context("cannot unpack the template")?;
        let config = fs::read_to_string(folder.path().join("cargo-generate.toml"))?;
        let config = toml::from_str(&config).context("cargo-generate.toml is not TOML")?;
        let questions = questions(&config)?;
        Ok(Self { folder, questions })
    }

    /// Whether a question has this among its choices.
    pub(crate) fn offers(&self, name: &str, choice: &str) -> bool {
        let question = self.questions.iter().find(|question| question.name == name);
        question.is_some_and(|question| question.choices.iter().any(|offered| offered == choice))
    }

    /// Parses answers of the form `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// If there is no question of that name, or the value is not a valid answer.
    pub fn read(&self, defines: &[String]) -> anyhow::Result<Answers> {
        let mut answers = Answers::new();
        for define in defines {
            let (name, value) = define
                .split_once('=')
                .with_context(|| format!("-d {define}: missing \"=\", expected NAME=VALUE"))?;
            let question = self.questions.iter().find(|question| question.name == name);
            let question = question.with_context(|| {
                let names: Vec<&str> = self
                    .questions
                    .iter()
                    .map(|question| &*question.name)
                    .collect();
                format!(
                    "invalid `-d {define}`: unknown question `{name}`, expected one of {}",
                    names.join(", ")
                )
            })?;
            question
                .check(value)
                .map_err(|wrong| anyhow::anyhow!("invalid `-d {define}`: {wrong}"))?;
            answers.insert(name.to_owned(), value.to_owned());
        }
        // An answer to a question that is not asked would be ignored silently.
        for name in answers.keys() {
            let question = self
                .questions
                .iter()
                .find(|question| question.name == *name);
            if let Some((other, value)) = question.and_then(|question| question.when.as_ref())
                && answers.get(other) != Some(value)
            {
                bail!("invalid `-d {name}=…`: it needs `-d {other}={value}` too");
            }
        }
        Ok(answers)
    }

    /// Completes the answers: prompts on a terminal, and uses the defaults elsewhere.
    ///
    /// # Errors
    ///
    /// If the terminal is closed.
    pub fn complete(&self, answers: &mut Answers) -> anyhow::Result<()> {
        let ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        for question in &self.questions {
            let wanted = question
                .when
                .as_ref()
                .is_none_or(|(other, value)| answers.get(other) == Some(value));
            if wanted && !answers.contains_key(&question.name) {
                let answer = if ask {
                    question.ask()?
                } else {
                    question.default.clone()
                };
                answers.insert(question.name.clone(), answer);
            }
        }
        Ok(())
    }

    /// Creates the project `name` in the folder `parent`, which must not contain this name yet, and returns its path.
    ///
    /// # Errors
    ///
    /// If the template refuses the name or an answer.
    pub fn render(&self, parent: &Path, name: &str, answers: &Answers) -> anyhow::Result<PathBuf> {
        let mut apart = Command::new(std::env::current_exe().context("cannot find this program")?);
        apart
            .arg(RENDER)
            .arg(self.folder.path())
            .arg(parent)
            .arg(name)
            .args(
                answers
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .env_clear()
            // cargo-generate requires an author, even for a template that does not name one.
            .env("CARGO_NAME", "axum-chassis")
            .stdin(Stdio::null());
        for kept in ["HOME", "PATH", "TMPDIR"] {
            apart.envs(std::env::var_os(kept).map(|value| (kept, value)));
        }
        let output = apart.output().context("cannot start this program again")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(parent.join(name))
    }
}

// === impl Question ===

/// The questions, in the order of the configuration.
fn questions(config: &toml::Table) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    let mut add = |asked: Option<&toml::Value>, when: Option<(String, String)>| {
        for (name, question) in asked.and_then(toml::Value::as_table).into_iter().flatten() {
            let text = |key: &str| question.get(key).and_then(toml::Value::as_str);
            let choices = question.get("choices").and_then(toml::Value::as_array);
            questions.push(Question {
                name: name.clone(),
                prompt: text("prompt").unwrap_or_default().to_owned(),
                default: text("default").unwrap_or_default().to_owned(),
                choices: choices
                    .into_iter()
                    .flatten()
                    .filter_map(|choice| choice.as_str().map(str::to_owned))
                    .collect(),
                pattern: text("regex").map(Regex::new).transpose()?,
                when: when.clone(),
            });
        }
        anyhow::Ok(())
    };
    add(config.get("placeholders"), None)?;
    let conditional = config.get("conditional").and_then(toml::Value::as_table);
    for (condition, more) in conditional.into_iter().flatten() {
        let (name, value) = condition.split_once(" == ").with_context(|| {
            format!("the condition `{condition}` is not of the form `name == \"value\"`")
        })?;
        let when = (name.to_owned(), value.trim_matches('"').to_owned());
        add(more.get("placeholders"), Some(when))?;
    }
    Ok(questions)
}

impl Question {
    fn check(&self, answer: &str) -> Result<(), String> {
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == answer) {
            return Err(format!("expected one of {}", self.choices.join(", ")));
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(answer) => {
                Err(format!("expected a match of the pattern {pattern}"))
            }
            _ => Ok(()),
        }
    }

    fn ask(&self) -> anyhow::Result<String> {
        if self.choices.is_empty() {
            return Ok(Input::<String>::new()
                .with_prompt(&self.prompt)
                .default(self.default.clone())
                .validate_with(|answer: &String| self.check(answer))
                .interact_text()?);
        }
        let default = self
            .choices
            .iter()
            .position(|choice| *choice == self.default);
        let chosen = Select::new()
            .with_prompt(&self.prompt)
            .items(&self.choices)
            .default(default.unwrap_or_default())
            .interact()?;
        Ok(self.choices[chosen].clone())
    }
}

// === the process apart ===

/// The argument that starts the separate process. It is not for users.
pub(crate) const RENDER: &str = "render-template";

/// Runs `render-template TEMPLATE PARENT NAME NAME=VALUE...`. Prints errors to stdout.
pub(crate) fn run_apart(arguments: &[String]) -> bool {
    let [template, parent, name, define @ ..] = arguments else {
        println!("`{RENDER}` is for this program itself");
        return false;
    };
    let rendered = render_here(Path::new(template), Path::new(parent), name, define);
    if let Err(error) = &rendered {
        // The message of a hook's `abort` ends with its position in the hook, which users do not need.
        let reason = error.root_cause().to_string();
        let reason = reason.strip_prefix("Runtime error: ").unwrap_or(&reason);
        println!("{}", reason.split(" (line ").next().unwrap_or(reason));
    }
    rendered.is_ok()
}

/// Renders the template in a folder, within this process. cargo-generate prints messages to stderr, and reads values
/// from environment variables.
///
/// # Errors
///
/// The errors of cargo-generate.
pub fn render_here(
    template: &Path,
    parent: &Path,
    name: &str,
    define: &[String],
) -> anyhow::Result<PathBuf> {
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(template.display().to_string()),
            ..TemplatePath::default()
        },
        name: Some(name.to_owned()),
        destination: Some(parent.to_owned()),
        // Ignores the user's configuration.
        config: Some("/dev/null".into()),
        // Keeps the name as it is. The template rejects invalid names.
        force: true,
        silent: true,
        no_workspace: true,
        no_fmt: true,
        vcs: Some(Vcs::None),
        define: define.to_vec(),
        ..GenerateArgs::default()
    })
}
