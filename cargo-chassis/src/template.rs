//! A template: its questions, and the project that it renders from the answers.
//!
//! The tool renders the template by itself: cargo-generate, for which the template is written too, would more than
//! double the time that the tool takes to compile. `tests/e2e` compares the files that the two write.

mod liquid;
mod name;
mod questions;
mod rules;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use questions::Question;
use rules::Rules;

use crate::archive::Archive;

/// Answers by the name of the question.
pub type Answers = BTreeMap<String, String>;

/// The questions, and the files of a project before they are rendered.
#[derive(Debug)]
pub struct Template {
    files: Archive,
    /// Liquid renders these files, and the others are copied. The patterns have the syntax of `.gitignore`, without
    /// wildcards.
    include: Vec<String>,
    questions: Vec<Question>,
    rules: Rules,
}

// === impl Template ===

impl Template {
    /// Reads the template in the folder `template` of an archive.
    ///
    /// # Errors
    ///
    /// If its `cargo-generate.toml` or `hooks/rules.toml` is not valid.
    pub fn read(archive: &Archive) -> anyhow::Result<Self> {
        let template = archive.folder("template");
        let config: toml::Table =
            table(&template, CONFIG)?.with_context(|| format!("the template has no {CONFIG}"))?;
        let list = |table: &str, key: &str| -> Vec<String> {
            let list = config.get(table).and_then(|table| table.get(key));
            let list = list.and_then(toml::Value::as_array).into_iter().flatten();
            list.filter_map(toml::Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let include = list("template", "include");
        for pattern in &include {
            check_pattern(pattern).with_context(|| format!("{CONFIG}: include"))?;
        }
        let rules = Rules::read(table(&template, rules::FILE)?)?;

        // As in cargo-generate, neither its configuration nor the hooks are files of the project.
        let mut files = template;
        let hooks = ["init", "pre", "post"].map(|when| list("hooks", when));
        let left_out = hooks.into_iter().chain([list("template", "ignore")]);
        for path in left_out.flatten() {
            files.remove(Path::new(&path));
        }
        files.remove(Path::new(CONFIG));
        let liquid = |path: &&Path| path.extension().is_some_and(|it| it == "liquid");
        let named: Vec<PathBuf> = files.paths().filter(liquid).map(Path::to_owned).collect();
        for path in named {
            files.rename(&path, path.with_extension(""));
        }
        Ok(Self {
            files,
            include,
            questions: questions::read(&config)?,
            rules,
        })
    }

    /// The questions with a choice of answers, and these answers.
    pub fn choices(&self) -> impl Iterator<Item = (&str, &[String])> {
        let questions = self.questions.iter();
        let questions = questions.filter(|question| !question.choices.is_empty());
        questions.map(|question| (&*question.name, &*question.choices))
    }

    /// Whether a question has this among its choices.
    pub fn offers(&self, name: &str, choice: &str) -> bool {
        let question = self.questions.iter().find(|question| question.name == name);
        question.is_some_and(|question| question.choices.iter().any(|offered| offered == choice))
    }

    /// Parses answers of the form `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// If there is no question of that name, or the value is not a valid answer.
    pub fn parse(&self, defines: &[String]) -> anyhow::Result<Answers> {
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
        self.answer_rest(answers, ask)
    }

    fn answer_rest(&self, answers: &mut Answers, ask: bool) -> anyhow::Result<()> {
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
    /// Questions without an answer get their defaults.
    ///
    /// # Errors
    ///
    /// If the name or an answer is not valid, or a file of the template is not.
    pub fn render(&self, parent: &Path, name: &str, answers: &Answers) -> anyhow::Result<PathBuf> {
        let folder = parent.join(name);
        ensure!(!folder.try_exists()?, "{} already exists", folder.display());
        self.files(name, answers)?
            .unpack("", &folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(folder)
    }

    /// The files of the project `name`.
    fn files(&self, name: &str, answers: &Answers) -> anyhow::Result<Archive> {
        name::check(name)?;
        let mut values = answers.clone();
        self.answer_rest(&mut values, false)?;
        for question in &self.questions {
            if let Some(answer) = values.get(&question.name) {
                question.check(answer).map_err(|wrong| {
                    anyhow::anyhow!("invalid answer `{answer}` to `{}`: {wrong}", question.name)
                })?;
            }
        }
        if let Some(path) = values.get_mut("chassis-path") {
            *path = path.replace('\\', "/");
        }
        name::add_to(&mut values, name);
        self.rules.complete(&mut values)?;

        let mut files = self.files.clone();
        self.rules.choose(&mut files, &values)?;
        files.edit_all(|path, contents| {
            if !self.is_liquid(path) {
                return Ok(());
            }
            let text = str::from_utf8(contents).map_err(anyhow::Error::from);
            let rendered = text.and_then(|text| Ok(liquid::render(text, &values)?));
            *contents = rendered.with_context(|| path.display().to_string())?.into();
            anyhow::Ok(())
        })?;
        Ok(files)
    }

    /// Whether `include` lists the file. As in `.gitignore`, the last pattern that matches decides.
    fn is_liquid(&self, path: &Path) -> bool {
        let mut included = false;
        for pattern in &self.include {
            let (includes, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (false, pattern),
                None => (true, &**pattern),
            };
            let matches = match pattern.strip_prefix('/') {
                Some(from_root) => path.starts_with(from_root),
                None => path.file_name().is_some_and(|name| name == pattern),
            };
            if matches {
                included = includes;
            }
        }
        included
    }
}

/// The name of cargo-generate's configuration.
const CONFIG: &str = "cargo-generate.toml";

/// A TOML file of the template.
fn table(template: &Archive, file: &str) -> anyhow::Result<Option<toml::Table>> {
    let Some(contents) = template.get(file) else {
        return Ok(None);
    };
    let text = str::from_utf8(contents).with_context(|| format!("{file} is not UTF-8"))?;
    toml::from_str(text).with_context(|| format!("{file} is not TOML"))
}

/// Accepts `/path` and `/folder/`, from the template's root, and `name`, in any folder.
fn check_pattern(pattern: &str) -> anyhow::Result<()> {
    let plain = pattern.strip_prefix('!').unwrap_or(pattern);
    ensure!(
        (plain.starts_with('/') || !plain.contains('/')) && !plain.contains(['*', '?', '[', '\\']),
        "unsupported pattern `{pattern}`: expected `/path`, `/folder/` or `name`, without wildcards"
    );
    Ok(())
}

/// Renders the template in a folder.
///
/// # Errors
///
/// If the template, the name or an answer is not valid.
pub fn render_here(
    template: &Path,
    parent: &Path,
    name: &str,
    define: &[String],
) -> anyhow::Result<PathBuf> {
    let mut archive = Archive::default();
    archive.add(template, "template")?;
    let mut answers = Answers::new();
    for define in define {
        let (name, value) = define.split_once('=').context("expected NAME=VALUE")?;
        answers.insert(name.to_owned(), value.to_owned());
    }
    Template::read(&archive)?.render(parent, name, &answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        [template]
        include = ["/README.md", "/docs/", "!figure.svg"]
        ignore = ["hooks/rules.toml"]
        [hooks]
        init = ["hooks/name.rhai"]
        [placeholders.tea]
        choices = ["green", "black"]
        default = "black"
    "#;

    const RULES: &str = r#"
        [values]
        drink = "{{tea}} tea"
        [[files]]
        when = 'tea == "black"'
        rename = { "milk" = "docs/milk" }
        remove = ["lemons"]
    "#;

    /// Renders the template with these files in place of its own.
    fn rendered(files: &[(&str, &str)]) -> Result<Archive, String> {
        let mut archive = Archive::default();
        let own = [
            (CONFIG, EXAMPLE),
            (rules::FILE, RULES),
            ("hooks/name.rhai", ""),
            ("Cargo.toml.liquid", "{{name}}"),
            ("README.md", "{{project-name}}: {{drink}}\n"),
            ("docs/a/figure.svg", "{{x}}"),
            ("lemons/one", ""),
            ("milk", "{{package}}"),
        ];
        for (path, text) in own.iter().chain(files) {
            archive.insert(&format!("template/{path}"), (*text).into());
        }
        let template = Template::read(&archive);
        let files = template.and_then(|template| template.files("a_b", &Answers::new()));
        files.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn rules_choose_the_files_and_liquid_runs_in_those_that_include_lists() {
        let files = rendered(&[]).expect("files");
        let text = |path: &str| String::from_utf8_lossy(files.get(path).expect(path)).into_owned();
        let paths = ["Cargo.toml", "README.md", "docs/a/figure.svg", "docs/milk"];
        assert_eq!(files.paths().collect::<Vec<_>>(), paths.map(Path::new));
        assert_eq!(
            paths.map(text),
            ["{{name}}", "a-b: black tea\n", "{{x}}", "a_b"]
        );
    }

    #[test]
    fn an_error_in_a_template_names_the_file_and_what_is_wrong() {
        for (file, text, expected) in [
            (
                "README.md",
                "\n{{pot}}",
                "README.md: line 2: unknown name `pot`",
            ),
            (
                CONFIG,
                "[template]\ninclude = [\"/docs/*.md\"]",
                "cargo-generate.toml: include: unsupported pattern `/docs/*.md`",
            ),
            (CONFIG, "[template", "cargo-generate.toml is not TOML"),
            (
                rules::FILE,
                "[values]\ndrink = \"\\n{{pot}}\"",
                "hooks/rules.toml: values.drink: line 2: unknown name `pot`",
            ),
            (
                rules::FILE,
                "[[files]]\nwhen = 'tea'",
                "hooks/rules.toml: when: invalid condition `tea`",
            ),
            (
                rules::FILE,
                "[variants]\ncup = 'pot == \"\"'",
                "hooks/rules.toml: variants.cup: unknown name `pot`",
            ),
            (
                rules::FILE,
                "[[files]]\nwhen = 'tea != \"\"'\nrename = { \"sugar\" = \"x\" }",
                "hooks/rules.toml: rename: the template has no file sugar",
            ),
            (
                rules::FILE,
                "[[files]]\nif = ''",
                "invalid hooks/rules.toml: unknown key `if`, expected one of when, rename, remove",
            ),
        ] {
            let error = rendered(&[(file, text)]).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
