//! What README says that a binary knows better: the settings, by the example service's own words.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use axum_chassis::testing::SettingsTable;

/// The README in `root` with everything between a pair of markers written anew.
pub(super) fn fill(root: &Path, readme: &str) -> anyhow::Result<String> {
    let schema = serde_json::from_str(&service(root, &["--config-schema"], &[])?)?;
    let filled = SettingsTable::new(&schema).fill(readme);
    let filled = filled.context("README.md lacks the markers of settings")?;
    let variables = [
        ("PORT", "8000"),
        ("APP__LIMITS__REQUEST_TIMEOUT", "10s"),
        ("APP__ADMIN__TOKEN", "0123456789abcdef"),
    ];
    let flags = ["--print-config", "--set", "logs.filter=info,hyper=debug"];
    let printed = service(root, &flags, &variables)?;
    replace(&filled, "print-config", &format!("```toml\n{printed}```\n"))
}

/// What the example service prints, run outside of any folder with settings.
fn service(root: &Path, flags: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<String> {
    let elsewhere = tempfile::tempdir()?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .args(["--package", "axum-chassis", "--example", "service", "--"])
        .args(flags)
        .current_dir(elsewhere.path())
        .env("CARGO_TARGET_DIR", root.join("target"))
        .envs(variables.iter().copied())
        .output()?;
    ensure!(
        output.status.success(),
        "the example service fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
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
