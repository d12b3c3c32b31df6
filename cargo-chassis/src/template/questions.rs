//! The questions of a template: the placeholders of `cargo-generate.toml`.

use anyhow::Context;
use dialoguer::{Input, Select};
use regex_lite::Regex;

/// A question and its possible answers.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: String,
    /// The question's text, in one line.
    prompt: String,
    pub(super) default: String,
    /// The possible answers; empty if the answer is free text.
    pub(super) choices: Vec<String>,
    pattern: Option<Regex>,
    /// The question is asked only if another question has this answer.
    pub(super) when: Option<(String, String)>,
}

/// The questions, in the order of the configuration.
pub(super) fn read(config: &toml::Table) -> anyhow::Result<Vec<Question>> {
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
    /// Fails if this is not a valid answer.
    pub(super) fn check(&self, answer: &str) -> Result<(), String> {
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

    /// Prompts on the terminal.
    pub(super) fn ask(&self) -> anyhow::Result<String> {
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
