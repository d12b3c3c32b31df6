//! What README says that other things know better: the settings, from their schema.

use anyhow::Context;
use axum_chassis::Sections;
use axum_chassis::settings::{self, Sources};
use serde_json::Value;

/// `readme` with everything between a pair of markers written anew.
pub(super) fn fill(readme: &str) -> anyhow::Result<String> {
    let filled = replace(readme, "settings", &table()?)?;
    replace(&filled, "print-config", &print_config()?)
}

fn replace(text: &str, name: &str, with: &str) -> anyhow::Result<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->"),
        format!("<!-- {name}: end -->"),
    );
    let missing = || format!("README.md lacks the markers of {name}");
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{with}{end}{after}"))
}

/// Every key of the chassis, its default and what it is.
fn table() -> anyhow::Result<String> {
    let schema = settings::schema::<Sections, ()>();
    let mut table = "| key | default | |\n|---|---|---|\n".to_owned();
    for (section, shape) in members(&schema)? {
        for (key, shape) in members(shape)? {
            let default = match &shape["default"] {
                Value::Null => "unset".to_owned(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let says = shape["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ");
            table += &format!("| `{section}.{key}` | {default} | {says} |\n");
        }
    }
    Ok(table)
}

fn members(shape: &Value) -> anyhow::Result<impl Iterator<Item = (&String, &Value)>> {
    let members = shape["properties"].as_object();
    Ok(members
        .context("the schema of a section has properties")?
        .iter())
}

/// What a service prints that got a few keys from here and there.
fn print_config() -> anyhow::Result<String> {
    let sources = Sources::empty()
        .with_var("PORT", "8000")
        .with_var("APP__LIMITS__REQUEST_TIMEOUT", "10s")
        .with_var("APP__ADMIN__TOKEN", "s3cret")
        .with_set("logs.filter=info,hyper=debug");
    let effective = settings::load::<Sections, ()>(&sources)?
        .effective
        .to_toml();
    Ok(format!("```toml\n{effective}```\n"))
}
