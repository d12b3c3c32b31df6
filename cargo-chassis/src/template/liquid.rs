//! The part of Liquid that the template uses: `if`, `elsif`, `else`, `raw`, names, and `-` next to a delimiter, which
//! removes white space. A condition compares names with texts: `database == "none" and redis == "no"`.

use std::fmt;

use super::Answers;

/// An invalid text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Error {
    line: usize,
    message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for Error {}

/// Renders a text. Every name in it needs a value.
pub(super) fn render(text: &str, values: &Answers) -> Result<String, Error> {
    let mut out = String::new();
    let mut open: Vec<If> = Vec::new();
    let mut tokens = Tokens { text, at: 0 };
    while let Some((line, token)) = tokens.next()? {
        let error = |message| Error { line, message };
        let here = open.last().is_none_or(|open| open.here);
        match token {
            Token::Text(text) if here => out.push_str(text),
            Token::Name(name) if here => out.push_str(value(name, values).map_err(error)?),
            Token::Text(_) | Token::Name(_) => {}
            Token::Tag(tag) => {
                let (word, condition) = tag.split_once(' ').unwrap_or((tag, ""));
                match (word, open.last_mut()) {
                    ("if", _) => {
                        let chosen = here && holds(condition, values).map_err(error)?;
                        open.push(If {
                            line,
                            around: here,
                            here: chosen,
                            chosen,
                            has_else: false,
                        });
                    }
                    ("elsif", Some(of)) if !of.has_else => {
                        let possible = of.around && !of.chosen;
                        of.here = possible && holds(condition, values).map_err(error)?;
                        of.chosen |= of.here;
                    }
                    ("else", Some(of)) if !of.has_else && condition.is_empty() => {
                        of.here = of.around && !of.chosen;
                        of.has_else = true;
                    }
                    ("endif", Some(_)) if condition.is_empty() => drop(open.pop()),
                    _ => return Err(error(format!("unexpected tag `{tag}`"))),
                }
            }
        }
    }
    if let Some(If { line, .. }) = open.pop() {
        let message = "`if` without `endif`".to_owned();
        return Err(Error { line, message });
    }
    Ok(out)
}

/// An `if` before its `endif`.
struct If {
    line: usize,
    /// Whether the text around it is rendered.
    around: bool,
    /// Whether the current branch is rendered.
    here: bool,
    /// Whether the condition of a branch was true.
    chosen: bool,
    has_else: bool,
}

enum Token<'a> {
    Text(&'a str),
    /// The name in `{{name}}`.
    Name(&'a str),
    /// The inside of `{% if … %}`.
    Tag(&'a str),
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// The next token and its line.
    fn next(&mut self) -> Result<Option<(usize, Token<'a>)>, Error> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let line = 1 + self.text[..self.at].matches('\n').count();
        let token = match rest.get(..2) {
            Some("{{") => Token::Name(self.inside(line, "}}")?),
            Some("{%") => match self.inside(line, "%}")? {
                "raw" => Token::Text(self.raw(line)?),
                tag => Token::Tag(tag),
            },
            _ => {
                let ends = ["{{", "{%"]
                    .iter()
                    .filter_map(|delimiter| rest.find(delimiter));
                Token::Text(self.text(ends.min().map_or(self.text.len(), |end| self.at + end)))
            }
        };
        Ok(Some((line, token)))
    }

    /// Reads the text before `end`. White space at its end is left out if a `-` follows there.
    fn text(&mut self, end: usize) -> &'a str {
        let text = &self.text[self.at..end];
        self.at = end;
        match self.text.get(end + 2..) {
            Some(after) if after.starts_with('-') => text.trim_end_matches(SPACE),
            _ => text,
        }
    }

    /// Reads a name or a tag with its delimiters, and the white space that follows if the last delimiter has a `-`.
    fn inside(&mut self, line: usize, delimiter: &str) -> Result<&'a str, Error> {
        let rest = &self.text[self.at..];
        let (start, rest) = rest.split_at(2);
        let (mut inside, mut after) = rest.split_once(delimiter).ok_or_else(|| Error {
            line,
            message: format!("`{start}` without `{delimiter}`"),
        })?;
        inside = inside.strip_prefix('-').unwrap_or(inside);
        if let Some(trimmed) = inside.strip_suffix('-') {
            inside = trimmed;
            after = after.trim_start_matches(SPACE);
        }
        self.at = self.text.len() - after.len();
        Ok(inside.trim())
    }

    /// Reads the text before `endraw`, and this tag.
    fn raw(&mut self, line: usize) -> Result<&'a str, Error> {
        let start = self.at;
        for (at, _) in self.text[start..].match_indices("{%") {
            self.at = start + at;
            if self.inside(line, "%}")? == "endraw" {
                let after = std::mem::replace(&mut self.at, start);
                let raw = self.text(start + at);
                self.at = after;
                return Ok(raw);
            }
        }
        let message = "`raw` without `endraw`".to_owned();
        Err(Error { line, message })
    }
}

/// The characters that Liquid counts as white space.
const SPACE: [char; 3] = [' ', '\n', '\r'];

fn value<'a>(name: &str, values: &'a Answers) -> Result<&'a str, String> {
    let value = values.get(name).map(String::as_str);
    value.ok_or_else(|| format!("unknown name `{name}`"))
}

/// Evaluates a condition.
pub(super) fn holds(condition: &str, values: &Answers) -> Result<bool, String> {
    let invalid = || {
        format!(
            "invalid condition `{condition}`: expected `name == \"value\"` or `name != \"value\"`, several joined with \
             either `and` or `or`"
        )
    };
    let words = words(condition).ok_or_else(invalid)?;
    let mut joint = None;
    let mut holds = false;
    let mut comparisons = words.chunks(4).peekable();
    while let Some(comparison) = comparisons.next() {
        let [name, operator, text, next @ ..] = comparison else {
            return Err(invalid());
        };
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let is_equal = value(name, values)? == text.ok_or_else(invalid)?;
        let this = match *operator {
            "==" => is_equal,
            "!=" => !is_equal,
            _ => return Err(invalid()),
        };
        holds = match joint {
            None => this,
            Some("and") => holds && this,
            Some("or") => holds || this,
            Some(_) => return Err(invalid()),
        };
        match (next, comparisons.peek()) {
            ([], None) => return Ok(holds),
            ([next], Some(_)) if joint.is_none_or(|joint| joint == *next) => joint = Some(*next),
            _ => break,
        }
    }
    Err(invalid())
}

/// Splits a condition at white space, except within quotation marks. `None` if a mark is not closed.
fn words(condition: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = condition.trim_start();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"')? + 2,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Answers {
        let values = [("name", "tea"), ("kind", "green leaf"), ("no-milk", "yes")];
        values
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_text_is_rendered_as_liquid_renders_it() {
        for (text, expected) in [
            ("a {{name}}, {{ no-milk }}\n", "a tea, yes\n"),
            (
                "{% if name == \"tea\" %}hot{% else %}cold{% endif %}",
                "hot",
            ),
            (
                "{% if name != \"tea\" %}hot{% else %}cold{% endif %}",
                "cold",
            ),
            (
                "{% if name == \"x\" %}1{% elsif kind == \"green leaf\" %}2{% elsif name == \"tea\" %}3{% else %}4{% endif %}",
                "2",
            ),
            (
                "{% if name == \"x\" %}{% if name == \"tea\" %}1{% else %}2{% endif %}{{unknown}}{% endif %}3",
                "3",
            ),
            (
                "a\n\n  {%- if name == \"tea\" %}\n  b\n{%- endif -%}\n\n c",
                "a\n  bc",
            ),
            ("a {{- name -}} b", "ateab"),
            ("\t{%- if name == \"tea\" -%}\tb{% endif %}", "\t\tb"),
            ("{% raw %}{{ x }} {% if %}{% endraw %}", "{{ x }} {% if %}"),
            ("a {%- raw -%} {{ x }} {%- endraw -%} b", "a{{ x }}b"),
            (
                "{% if name == \"x\" %}{% raw %}{% endif %}{% endraw %}{% endif %}b",
                "b",
            ),
            ("100 % { größer }", "100 % { größer }"),
        ] {
            assert_eq!(render(text, &values()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_line_and_the_fault() {
        for (text, expected) in [
            ("a\n{{nam}}", "line 2: unknown name `nam`"),
            ("a\nb {{name", "line 2: `{{` without `}}`"),
            (
                "\n\n{% if name == \"tea\" %}\n",
                "line 3: `if` without `endif`",
            ),
            ("{% endif %}", "line 1: unexpected tag `endif`"),
            (
                "{% if name == \"x\" %}{% else %}{% else %}",
                "line 1: unexpected tag `else`",
            ),
            ("{% unless name %}", "line 1: unexpected tag `unless name`"),
            ("{%}", "line 1: `{%` without `%}`"),
            ("\n{% raw %}{% end", "line 2: `{%` without `%}`"),
            ("\n{% raw %} {% endif %}", "line 2: `raw` without `endraw`"),
        ] {
            let error = render(text, &values()).expect_err("it is not valid");
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn conditions_are_comparisons_joined_with_and_or_with_or() {
        for (condition, expected) in [
            (r#"name == "tea""#, true),
            (r#"name == "tea" and kind == "black leaf""#, false),
            (
                r#"name == "x" or kind == "green leaf" or name == "y""#,
                true,
            ),
            (r#"name != "x" and kind != "x" and no-milk == "yes""#, true),
            (r#"name != "x and y""#, true),
        ] {
            assert_eq!(holds(condition, &values()), Ok(expected), "{condition}");
        }
        for condition in [
            "",
            "name",
            r#"name = "tea""#,
            r#"name == tea"#,
            r#"name == "tea"#,
            r#"name == "tea" and"#,
            r#"name == "tea" nor name == "tea""#,
            r#"name == "tea" and name == "tea" or name == "tea""#,
        ] {
            let error = holds(condition, &values()).expect_err(condition);
            let start = format!("invalid condition `{condition}`: expected");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
