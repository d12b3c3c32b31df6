//! Translates the Rust sources of the template to Liquid: `template/src/main.rs` to `template/src/main.rs.liquid`.
//!
//! In the sources, the answers to the template's questions are features of `template/Cargo.toml`, and code that depends on
//! an answer has the attribute `#[cfg(…)]`, on a line of its own. In the Liquid file, this code is between `{% if … %}` and
//! `{% endif %}`. A generated service therefore has neither the features nor the attributes. cargo-generate renders the
//! Liquid file and ignores the source beside it.

use anyhow::{Context, bail, ensure};

/// Names of the package in the sources, and the placeholders that replace them.
const NAMES: [(&str, &str); 2] = [
    ("template-service", "{{package}}"),
    ("template_service", "{{crate_name}}"),
];

/// Features, each with the Liquid conditions for "on" and "off".
const FEATURES: [(&str, &str, &str); 7] = [
    ("auth", r#"auth == "oidc""#, r#"auth == "none""#),
    ("database", r#"database != "none""#, r#"database == "none""#),
    ("example", r#"example == "yes""#, r#"example == "no""#),
    ("openapi", r#"openapi == "yes""#, r#"openapi == "no""#),
    ("otlp", r#"otlp == "yes""#, r#"otlp == "no""#),
    (
        "postgres",
        r#"database == "postgres""#,
        r#"database != "postgres""#,
    ),
    ("redis", r#"redis == "yes""#, r#"redis == "no""#),
];

/// The Liquid file for a source; `None` if the source does not depend on the answers.
///
/// # Errors
///
/// If an attribute has a form that is not supported.
pub(super) fn translate(source: &str) -> anyhow::Result<Option<String>> {
    let lines: Vec<&str> = source.lines().collect();
    let mut text = block(&lines)?;
    for (name, placeholder) in NAMES {
        text = text.replace(name, placeholder);
    }
    Ok((text != source).then_some(text))
}

/// Code that depends on answers: a statement, a field or an item, with its attributes and comments.
struct Conditional<'a> {
    condition: String,
    lines: &'a [&'a str],
}

fn block<'a>(lines: &'a [&'a str]) -> anyhow::Result<String> {
    let mut out = String::new();
    // The condition of the code at the end of `out`.
    let mut last = None;
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        if line.is_empty() {
            let conditions = conditions_until_blank_line(after)?;
            out += &match &conditions[..] {
                [] => "\n".to_owned(),
                some => format!("{{% if {} %}}\n{{% endif %}}", some.join(" %}\n{% elsif ")),
            };
            last = Some(conditions)
                .filter(|some| some.len() == 1)
                .map(|mut some| some.remove(0));
            rest = after;
        } else if let Some((part, after)) = part(rest)? {
            let text = block(part.lines)?;
            if last.as_ref() == Some(&part.condition) {
                out.truncate(out.len() - "{% endif %}".len());
            } else {
                out += &format!("{{% if {} %}}", part.condition);
            }
            out += &format!("{text}{{% endif %}}");
            (rest, last) = (after, Some(part.condition));
        } else if let Some((inner, after)) = attribute("#[cfg_attr(", rest) {
            attach(&mut out, line, &inner)?;
            (rest, last) = (after, None);
        } else {
            out += &format!("{line}\n");
            (rest, last) = (after, None);
        }
    }
    Ok(out)
}

/// The conditions of the parts after an empty line if nothing else follows until the next empty line, else none. The
/// empty line is left out together with all of these parts.
fn conditions_until_blank_line<'a>(mut after: &'a [&'a str]) -> anyhow::Result<Vec<String>> {
    let mut conditions = Vec::new();
    while let Some((part, further)) = part(after)? {
        if !conditions.contains(&part.condition) {
            conditions.push(part.condition);
        }
        after = further;
    }
    if after.first().is_some_and(|next| !next.is_empty()) {
        conditions.clear();
    }
    Ok(conditions)
}

/// The part at the beginning of the lines, and the lines after it.
fn part<'a>(lines: &'a [&'a str]) -> anyhow::Result<Option<(Conditional<'a>, &'a [&'a str])>> {
    let cfg = attribute("#[cfg(", lines).filter(|(cfg, _)| cfg != "test");
    let Some((cfg, lines)) = cfg else {
        return Ok(None);
    };
    let condition = condition(&cfg, true).with_context(|| format!("#[cfg({cfg})]"))?;
    let end = end(lines).with_context(|| format!("#[cfg({cfg})] has no code after it"))?;
    let (lines, after) = lines.split_at(end);
    Ok(Some((Conditional { condition, lines }, after)))
}

/// The number of lines of the statement, field or item at the beginning, as rustfmt indents it.
fn end(lines: &[&str]) -> Option<usize> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let outer = indent(lines.first()?);
    let mut at = 0;
    loop {
        let line = lines.get(at)?.trim_start();
        at += 1;
        if line.starts_with("//") || (line.starts_with("#[") && line.ends_with(']')) {
            continue;
        }
        if line.ends_with([';', ',', '}']) {
            return Some(at);
        }
        let inner = |line: &&&str| line.is_empty() || indent(line) > outer;
        at += lines[at..].iter().take_while(inner).count();
        let closes = |line: &&str| line.trim_start().starts_with(['}', ')', ']']);
        if !lines.get(at).is_some_and(closes) {
            return Some(at);
        }
    }
}

/// `(…)` of an attribute that starts with `#[cfg(` or `#[cfg_attr(`, which may have several lines, and the lines after it.
fn attribute<'a>(start: &str, lines: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
    let first = lines.first()?.trim_start();
    first.starts_with(start).then_some(())?;
    let last = lines.iter().position(|line| line.ends_with(")]"))?;
    let whole: Vec<&str> = lines[..=last].iter().map(|line| line.trim()).collect();
    let whole = whole.join(" ");
    let inner = whole.strip_prefix(start)?.strip_suffix(")]")?;
    Some((inner.trim().to_owned(), &lines[last + 1..]))
}

/// Adds the attribute of a `#[cfg_attr(…)]`. A derive becomes part of the derives in the line before.
fn attach(out: &mut String, line: &str, inner: &str) -> anyhow::Result<()> {
    let parts = arguments(inner);
    let [cfg, attribute] = parts[..] else {
        bail!("#[cfg_attr({inner})] needs a condition and one attribute");
    };
    let condition = condition(cfg, true)?;
    // hooks/parts.rhai gives the file the name of its module.
    if attribute.starts_with("path = ") {
        return Ok(());
    }
    let Some(derived) = attribute.strip_prefix("derive(") else {
        let indent = &line[..line.len() - line.trim_start().len()];
        *out += &format!("{{% if {condition} %}}{indent}#[{attribute}]\n{{% endif %}}");
        return Ok(());
    };
    let derived = derived.trim_end_matches(')');
    let start = out.rfind("#[derive(").context("no derive before it")?;
    let list = out[start..]
        .strip_prefix("#[derive(")
        .and_then(|list| list.strip_suffix(")]\n"))
        .with_context(|| format!("#[cfg_attr({inner})] has to follow #[derive(…)]"))?;
    // In alphabetical order.
    let names: Vec<&str> = list.split(", ").collect();
    let at = names.partition_point(|name| *name < derived);
    let (before, after) = (names[..at].join(", "), names[at..].join(", "));
    let list = if after.is_empty() {
        format!("{before}{{% if {condition} %}}, {derived}{{% endif %}}")
    } else {
        let comma = if before.is_empty() { "" } else { ", " };
        format!("{before}{comma}{{% if {condition} %}}{derived}, {{% endif %}}{after}")
    };
    out.truncate(start);
    *out += &format!("#[derive({list})]\n");
    Ok(())
}

/// The Liquid condition for a `cfg` predicate.
fn condition(cfg: &str, on: bool) -> anyhow::Result<String> {
    let inside = |name: &str| {
        let inside = cfg.strip_prefix(name)?.strip_prefix('(')?;
        inside.strip_suffix(')')
    };
    if let Some(inner) = inside("not") {
        return condition(inner, !on);
    }
    for (name, if_on, if_off) in [("all", " and ", " or "), ("any", " or ", " and ")] {
        let Some(inner) = inside(name) else { continue };
        let joined: Vec<String> = arguments(inner)
            .iter()
            .map(|one| condition(one, on))
            .collect::<anyhow::Result<_>>()?;
        let (word, other) = if on { (if_on, if_off) } else { (if_off, if_on) };
        // Liquid has no parentheses.
        ensure!(
            !joined.iter().any(|one| one.contains(other)),
            "`{cfg}` mixes \"and\" with \"or\""
        );
        return Ok(joined.join(word));
    }
    let feature = cfg
        .strip_prefix("feature = \"")
        .map(|rest| rest.trim_end_matches('"'));
    let known = FEATURES.iter().find(|(name, ..)| Some(*name) == feature);
    let (_, if_on, if_off) = known.with_context(|| format!("unknown condition `{cfg}`"))?;
    Ok(if on { *if_on } else { *if_off }.to_owned())
}

/// The parts between the commas that are not within parentheses or strings.
fn arguments(list: &str) -> Vec<&str> {
    let (mut depth, mut in_string) = (0, false);
    list.split(|letter| {
        match letter {
            '"' => in_string = !in_string,
            '(' if !in_string => depth += 1,
            ')' if !in_string => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0 && !in_string
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(source: &str) -> String {
        translate(source)
            .expect("a translation")
            .expect("a condition")
    }

    #[test]
    fn code_for_an_answer_is_between_tags_with_the_empty_line_before_it() {
        let source = "use a;\n\n#[cfg(feature = \"redis\")]\nfn one() {\n    two(\n        3,\n    )\n}\n\nfn four() {}\n";
        assert_eq!(
            translated(source),
            "use a;\n{% if redis == \"yes\" %}\nfn one() {\n    two(\n        3,\n    )\n}\n\
             {% endif %}\nfn four() {}\n"
        );
    }

    #[test]
    fn a_condition_may_have_several_lines() {
        let source =
            "#[cfg(not(any(\n    feature = \"redis\",\n    feature = \"otlp\"\n)))]\nuse a;\n";
        assert_eq!(
            translated(source),
            "{% if redis == \"no\" and otlp == \"no\" %}use a;\n{% endif %}"
        );
    }

    #[test]
    fn neighbors_with_the_same_condition_share_tags() {
        let source = "#[cfg(feature = \"otlp\")]\nuse a;\n#[cfg(feature = \"otlp\")]\nuse b;\n";
        assert_eq!(
            translated(source),
            "{% if otlp == \"yes\" %}use a;\nuse b;\n{% endif %}"
        );
    }

    #[test]
    fn a_conditional_derive_has_its_place_in_the_list() {
        let line = "#[cfg_attr(feature = \"openapi\", derive(JsonSchema))]\n";
        for (list, wanted) in [
            (
                "Serialize",
                "{% if openapi == \"yes\" %}JsonSchema, {% endif %}Serialize",
            ),
            (
                "Clone",
                "Clone{% if openapi == \"yes\" %}, JsonSchema{% endif %}",
            ),
        ] {
            let source = format!("#[derive({list})]\n{line}");
            assert_eq!(translated(&source), format!("#[derive({wanted})]\n"));
        }
    }

    #[test]
    fn conditions_are_those_of_liquid() {
        for (cfg, wanted) in [
            (r#"not(feature = "redis")"#, r#"redis == "no""#),
            (
                r#"not(any(feature = "example", feature = "database"))"#,
                r#"example == "no" and database == "none""#,
            ),
        ] {
            assert_eq!(condition(cfg, true).expect("a condition"), wanted);
        }
        for wrong in [
            r#"feature = "x""#,
            "unix",
            r#"all(feature = "otlp", any(feature = "redis", feature = "example"))"#,
        ] {
            condition(wrong, true).expect_err(wrong);
        }
    }
}
