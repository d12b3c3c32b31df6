//! `--json` and `--dry-run`.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{commit, contents, copy, root};
use serde_json::{Value, json};

use crate::tool::chassis;
use crate::update::Old;

/// The report of a command that ends with this exit code: all of its stdout.
fn report(command: &mut Command, code: i32) -> Value {
    let output = command.arg("--json").env("CARGO", "true").output();
    let output = output.expect("the tool");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    contents(folder).into_keys().collect()
}

#[test]
fn a_dry_run_of_new_lists_what_new_writes() {
    let place = tempfile::tempdir().expect("a folder");
    let words = ["new", "orders", "-d", "database=postgres"];
    let planned = report(chassis(place.path()).args(words).arg("--dry-run"), 0);
    assert!(contents(place.path()).is_empty());
    assert_eq!(planned["dry_run"], true);

    let made = report(chassis(place.path()).args(words), 0);
    for key in ["files", "folder", "name", "next", "replaced"] {
        assert_eq!(planned[key], made[key], "{key}");
    }
    let mut listed: Vec<PathBuf> = serde_json::from_value(made["files"].clone()).expect("paths");
    listed.sort();
    assert_eq!(listed, files(&place.path().join("orders")));
    assert_eq!(
        made["next"],
        json!([
            "cd orders",
            "docker compose up --detach --wait postgres",
            "cargo run -- migrate",
            "cargo run"
        ])
    );
}

#[test]
fn a_dry_run_of_add_lists_what_add_writes() {
    let place = tempfile::tempdir().expect("a folder");
    copy(&root().join("tests/e2e/fixtures/plain-axum"), place.path());
    let before = contents(place.path());
    let add = || {
        let mut add = chassis(place.path());
        add.args(["add", "images"]).env("CARGO", env!("CARGO"));
        add
    };
    let output = |command: &mut Command| {
        let output = command.arg("--json").output().expect("the tool");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let planned = output(add().arg("--dry-run"));
    assert!(contents(place.path()) == before);
    let made = output(&mut add());
    let new = ["Dockerfile", "Dockerfile.distroless", ".dockerignore"];
    for file in new {
        assert!(place.path().join(file).exists(), "{file}");
        let listed = made["added"].as_array().expect("a list");
        assert!(listed.contains(&file.into()), "{file}: {made}");
    }
    for key in ["added", "kept", "next", "package", "bin", "port", "root"] {
        assert_eq!(planned[key], made[key], "{key}");
    }
    let again = output(&mut add());
    assert_eq!(again["kept"], made["added"]);
    assert_eq!(again["added"], json!([]));
}

#[test]
fn a_dry_run_of_update_lists_what_update_changes() {
    let old = Old::new("orders");
    old.edit("README.md", "comes from", "stems from");
    std::fs::remove_file(old.file("k8s/README.md")).expect("a file");
    commit(&old.folder, "ours");

    let waiting = report(chassis(&old.folder).args(["update", "--check"]), 1);
    assert_eq!(waiting["from"], "0.1.0");
    let before = old.state();
    let planned = report(chassis(&old.folder).args(["update", "--dry-run"]), 1);
    assert_eq!(old.state(), before);

    let made = report(chassis(&old.folder).arg("update"), 1);
    for key in [
        "added", "changed", "deleted", "conflict", "left_out", "from", "to",
    ] {
        assert_eq!(planned[key], made[key], "{key}");
    }
    assert_eq!(made["conflict"], json!(["README.md"]));
    assert_eq!(made["left_out"], json!(["k8s/README.md"]));
    let changed = made["changed"].as_array().expect("a list");
    assert!(changed.contains(&"Cargo.toml".into()), "{made}");
}

#[test]
fn an_error_is_a_report_too() {
    let place = tempfile::tempdir().expect("a folder");
    let refused = report(chassis(place.path()).args(["new", "match"]), 2);
    let error = refused["error"].as_str().expect("a text");
    assert!(error.contains("a keyword of Rust"), "{error}");
}
