//! Writes the tables in `docs/settings.md` from the output of the example service.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use axum_chassis_testing::SettingsTable;

use crate::blocks::replace;

/// The page `page` in `root`, with the text between each pair of markers replaced.
pub(super) fn fill(root: &Path, page: &str) -> anyhow::Result<String> {
    let schema = serde_json::from_str(&printed(root, &["--config-schema"], &[])?)?;
    let filled = SettingsTable::new(&schema).fill(page);
    let filled = filled.context("docs/settings.md has no markers for `settings`")?;
    let variables = [
        ("PORT", "8000"),
        ("APP__LIMITS__REQUEST_TIMEOUT", "10s"),
        ("APP__ADMIN__TOKEN", "0123456789abcdef"),
    ];
    let flags = [
        "--print-config",
        "--set",
        "logs.filter=info,hyper=debug",
        "--set",
        "service.platform=container",
    ];
    let toml = printed(root, &flags, &variables)?;
    let filled = replace(&filled, "print-config", &format!("```toml\n{toml}```\n"))?;
    let wrong = [("APP__SERVR__PORT", "1"), ("APP__LIMITS__BODY", "lots")];
    let errors = String::from_utf8(service(root, &["--check-config"], &wrong)?.stderr)?;
    let command = "$ APP__SERVR__PORT=1 APP__LIMITS__BODY=lots service --check-config";
    let console = format!("```console\n{command}\n{errors}```\n");
    replace(&filled, "check-config", &console)
}

/// The standard output of the example service, which has to succeed.
fn printed(root: &Path, flags: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = service(root, flags, variables)?;
    ensure!(
        output.status.success(),
        "the example service fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs the example service in an empty folder, so that no file changes its settings.
fn service(root: &Path, flags: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Output> {
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
    Ok(output)
}
