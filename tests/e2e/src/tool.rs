//! `cargo chassis`, built from this checkout, what programs say, and what a workflow would call.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::{cargo, root, succeed};

/// `cargo chassis` in a folder.
pub fn chassis(folder: &Path) -> Command {
    static TOOL: LazyLock<PathBuf> = LazyLock::new(|| built(cargo(&root()).arg("build-tool")));
    let mut tool = Command::new(&*TOOL);
    tool.current_dir(folder);
    tool
}

/// The program that a `cargo build` makes.
///
/// # Panics
/// If it makes none.
pub fn built(build: &mut Command) -> PathBuf {
    let messages = succeed(build.arg("--message-format=json")).stdout;
    let messages = String::from_utf8(messages).expect("JSON");
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["kind"][0] == "bin")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.expect("an executable")
}

/// Runs a command that has to end with this exit code, and returns its output.
///
/// # Panics
/// If it ends with another.
pub fn said(command: &mut Command, code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("a program");
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{command:?}: {said}");
    said.into_owned()
}

/// The commands of a workflow.
///
/// # Panics
/// If it is invalid.
pub fn run_lines(workflow: &str) -> Vec<String> {
    let workflow: serde_json::Value = serde_saphyr::from_str(workflow).expect("YAML");
    let jobs = workflow["jobs"].as_object().expect("jobs").values();
    jobs.flat_map(|job| job["steps"].as_array().expect("steps"))
        .filter_map(|step| step["run"].as_str())
        .flat_map(|run| run.lines().map(str::to_owned))
        .collect()
}
