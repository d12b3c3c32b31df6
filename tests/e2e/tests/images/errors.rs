//! The output of a failing build: cargo's own error, at the end.

use std::fs;

use e2e::edit;

use crate::{docker::Build, projects::copy_of};

/// The end of the log has `error`; and nothing was compiled, unless the error is the compiler's.
fn fails(project: &tempfile::TempDir, error: &str) {
    let log = Build::of(project.path(), "Dockerfile").failure();
    let lines: Vec<&str> = log.lines().collect();
    let end = &lines[lines.len().saturating_sub(40)..];
    assert!(end.iter().any(|line| line.contains(error)), "{log}");
    assert!(
        error.starts_with("error[") || !log.contains(" Compiling "),
        "{log}"
    );
}

#[test]
#[ignore = "needs Docker"]
fn the_message_for_a_type_error_is_at_the_end() {
    let project = copy_of("plain-axum");
    edit(
        &project.path().join("src/main.rs"),
        "async || \"plain-axum\"",
        "42",
    );
    fails(
        &project,
        "error[E0277]: the trait bound `{integer}: Handler",
    );
}

#[test]
#[ignore = "needs Docker"]
fn the_error_for_a_path_outside_of_the_context_is_at_the_end() {
    let project = copy_of("plain-axum");
    let dependency = "[dependencies]\nelsewhere = { path = \"../elsewhere\" }\n";
    edit(
        &project.path().join("Cargo.toml"),
        "[dependencies]\n",
        dependency,
    );
    fails(&project, "failed to read `/elsewhere/Cargo.toml`");
}

#[test]
#[ignore = "needs Docker"]
fn the_error_for_a_stale_lock_file_is_at_the_end() {
    let project = copy_of("plain-axum");
    edit(
        &project.path().join("Cargo.toml"),
        "[dependencies]\n",
        "[dependencies]\nfastrand = \"2\"\n",
    );
    fails(
        &project,
        "error: cannot update the lock file /build/Cargo.lock because --locked was passed",
    );
}

#[test]
#[ignore = "needs Docker"]
fn the_error_for_a_missing_lock_file_is_at_the_end() {
    let project = copy_of("plain-axum");
    fs::remove_file(project.path().join("Cargo.lock")).expect("a lock file");
    fails(&project, "\"/Cargo.lock\" not found");
}
