//! `cargo chassis doctor`: the parts of a project that are behind.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_chassis::embedded::{self, VERSION};
use e2e::{commit, contents, edit, git, root, run_lines, said};
use serde_json::Value;
use tempfile::TempDir;

use crate::generate::generate;
use crate::tool::{chassis, read};

/// A new service in a folder of its own, not built.
fn service(answers: &[&str]) -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a folder");
    let mut new = chassis(place.path());
    new.args(["new", "orders"]).env("CARGO", "true");
    said(
        new.args(answers.iter().flat_map(|answer| ["-d", answer])),
        0,
    );
    let folder = place.path().join("orders");
    (place, folder)
}

/// A service as release 0.5.0 made it, committed.
fn service_of_0_5_0() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a folder");
    let release = embedded::release("0.5.0").expect("a release");
    let template = place.path().join("template");
    release.unpack("template", &template).expect("a template");
    generate(
        &template,
        place.path(),
        "orders",
        &["chassis=vendored", "workspace=own"],
    );
    let folder = place.path().join("orders");
    let vendored = folder.join("vendor/axum-chassis");
    release.unpack("crate", &vendored).expect("the crate");
    let unformatted = "disable_all_formatting = true\n";
    fs::write(vendored.join("rustfmt.toml"), unformatted).expect("a file");
    git(&folder, &["init", "--quiet"]);
    commit(&folder, "generated");
    (place, folder)
}

/// The parts that `--json` lists.
fn parts(folder: &Path, arguments: &[&str], code: i32) -> Vec<Value> {
    let mut doctor = chassis(folder);
    doctor.args(["doctor", "--json"]).args(arguments);
    let output = doctor.output().expect("the tool");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let parts = printed["parts"].as_array().expect("parts").clone();
    let behind = parts.iter().filter(|part| is_behind(part)).count();
    assert_eq!(printed["behind"], behind, "{printed:#}");
    assert_eq!(code == 1, behind > 0, "{printed:#}");
    parts
}

fn is_behind(part: &Value) -> bool {
    !["current", "newer"].contains(&part["state"].as_str().expect("a state"))
}

/// The names of the parts that are behind.
fn behind(parts: &[Value]) -> Vec<&str> {
    let parts = parts.iter().filter(|part| is_behind(part));
    parts
        .map(|part| part["part"].as_str().expect("a name"))
        .collect()
}

/// Makes the edit that a part needs.
fn mend(folder: &Path, part: &Value) {
    let [from, to] = ["replace", "with"].map(|key| part["remedy"][key].as_str().expect("an edit"));
    for file in part["files"].as_array().expect("files") {
        let file = folder.join(file.as_str().expect("a path"));
        let text = read(&file);
        assert!(text.contains(from), "{part:#}");
        fs::write(file, text.replace(from, to)).expect("a file");
    }
}

#[test]
fn nothing_of_a_new_service_is_behind() {
    let postgres = ["database=postgres", "redis=yes"];
    for answers in [
        &postgres[..],
        &["deploy=docker"],
        &["chassis=git", "deploy=none"],
    ] {
        let (_place, folder) = service(answers);
        let parts = parts(&folder.join("src"), &[], 0);
        let has = |name: &str| parts.iter().any(|part| part["part"] == name);
        for name in [
            "template",
            "crate axum-chassis",
            "Rust",
            "action actions/checkout",
        ] {
            assert!(has(name), "{answers:?}: {name}");
        }
        let with_images = answers[0] != "chassis=git";
        assert_eq!(
            has("base image rust") && has("base image debian"),
            with_images
        );
        assert_eq!(has("API PodDisruptionBudget.policy"), answers == postgres);
        let nightly = run_lines(&read(&folder.join(".github/workflows/nightly.yml")));
        assert!(nightly.contains(&"cargo chassis doctor".to_owned()));
        let printed = said(chassis(&folder).arg("doctor"), 0);
        assert!(printed.contains("behind: 0"), "{printed}");
    }
}

#[test]
fn each_part_that_was_edited_to_be_behind_is_named_and_its_edit_updates_it() {
    let (_place, folder) = service(&[]);
    let file = |path: &str| folder.join(path);
    let rust = embedded_rust();
    let workflow = read(&file(".github/workflows/ci.yml"));
    let from = format!("FROM rust:1.{rust}-slim-trixie");
    edit(&file("Dockerfile"), &from, "FROM rust:1.90-slim-bookworm");
    let digest = format!("FROM rust:1.90-slim-trixie@sha256:{}", "0".repeat(64));
    edit(&file("Dockerfile.distroless"), &from, &digest);
    edit(
        &file("Dockerfile.distroless"),
        "cc-debian13",
        "${KIND}-debian12",
    );
    let release = format!("RUSTUP_TOOLCHAIN: \"1.{rust}\"");
    edit(
        &file(".github/workflows/ci.yml"),
        &release,
        "RUSTUP_TOOLCHAIN: \"1.90\"",
    );
    fs::write(
        file("rust-toolchain.toml"),
        "[toolchain]\nchannel = \"1.90.0\"\n",
    )
    .expect("a file");
    let action = workflow
        .lines()
        .find(|line| line.contains("actions/cache@"));
    let action = action
        .expect("an action")
        .trim()
        .trim_start_matches("uses: ");
    edit(
        &file(".github/workflows/ci.yml"),
        action,
        "actions/cache@v4",
    );
    let budget = file("k8s/base/workload/pdb.yaml");
    edit(&budget, "policy/v1", "policy/v1beta1");

    let found = parts(&folder, &[], 1);
    let mut names = behind(&found);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "API PodDisruptionBudget.policy",
            "Rust",
            "Rust",
            "action actions/cache",
            "base image gcr.io/distroless/${KIND}-debian12",
            "base image rust",
            "base image rust",
        ]
    );
    let state = |file: &str, state: &str| {
        found
            .iter()
            .any(|part| part["files"][0] == file && part["state"] == state)
    };
    assert!(state("Dockerfile", "unsupported") && state("Dockerfile.distroless", "behind"));
    let printed = said(chassis(&folder).arg("doctor"), 1);
    let expected = "unsupported: base image rust 1.90 in Dockerfile\n    bookworm has not been fully supported since 2026-07-11\n";
    assert!(printed.contains(expected), "{printed}");
    assert!(printed.contains("behind: 7"), "{printed}");

    for part in found.iter().filter(|part| is_behind(part)) {
        mend(&folder, part);
    }
    parts(&folder, &[], 0);
    assert!(read(&file("Dockerfile")).contains(&from));
    assert!(read(&file("Dockerfile.distroless")).contains(&format!("{from} AS")));
    assert_eq!(read(&file(".github/workflows/ci.yml")), workflow);
}

/// The minor version of Rust in the template's images.
fn embedded_rust() -> u32 {
    let dockerfile = read(&root().join("template/Dockerfile"));
    let (_, rest) = dockerfile.split_once("FROM rust:1.").expect("a base");
    rest.split('-')
        .next()
        .expect("a version")
        .parse()
        .expect("a number")
}

#[test]
fn a_newer_server_for_local_use_and_an_unknown_part_do_not_fail() {
    let (_place, folder) = service(&["database=postgres"]);
    edit(
        &folder.join("docker-compose.yml"),
        "postgres:18",
        "postgres:17-alpine",
    );
    edit(
        &folder.join("Dockerfile"),
        "FROM debian:trixie-slim",
        "FROM alpine:3 AS other\nFROM debian:trixie-slim",
    );
    let parts = parts(&folder, &[], 0);
    let postgres = |part: &&Value| part["part"] == "image postgres" && part["version"] == "17";
    let postgres = parts.iter().find(postgres).expect("the server");
    assert_eq!(postgres["state"], "newer");
    assert_eq!(postgres["remedy"]["with"], "postgres:18-alpine");
    assert!(!parts.iter().any(|part| part["part"] == "base image alpine"));
}

#[test]
fn an_update_of_a_service_of_0_5_0_brings_the_new_workflows_and_all_that_was_behind() {
    let (_place, folder) = service_of_0_5_0();
    let found = parts(&folder, &[], 1);
    assert_eq!(behind(&found), ["template", "crate axum-chassis"]);
    for part in found.iter().filter(|part| is_behind(part)) {
        assert_eq!(
            part["remedy"]["command"], "cargo chassis update",
            "{part:#}"
        );
    }
    said(chassis(&folder).arg("update"), 0);
    parts(&folder, &[], 0);

    let (_place, new) = service(&[]);
    let workflows = ".github/workflows";
    assert_eq!(
        contents(&folder.join(workflows)),
        contents(&new.join(workflows))
    );
    for workflow in ["ci.yml", "nightly.yml", "release.yml"] {
        assert!(folder.join(workflows).join(workflow).exists(), "{workflow}");
    }
}

#[test]
fn workflows_of_a_repository_around_the_service_are_compared_too() {
    let (place, folder) = service(&[]);
    fs::remove_dir_all(folder.join(".git")).expect("a repository");
    git(place.path(), &["init", "--quiet"]);
    let workflows = place.path().join(".github/workflows");
    fs::create_dir_all(&workflows).expect("a folder");
    let workflow = workflows.join("all.yaml");
    fs::write(
        &workflow,
        "jobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4\n",
    )
    .expect("a file");
    let found = parts(&folder, &[], 1);
    let part = found.iter().find(|part| is_behind(part)).expect("a part");
    assert_eq!(part["files"][0], workflow.display().to_string());
    mend(&folder, part);
    parts(&folder, &[], 0);
}

#[test]
fn an_advisory_for_a_vendored_crate_fails_until_an_update_has_the_fix() {
    let (place, folder) = service(&[]);
    let file = place.path().join("advisories.toml");
    let advisories = file.display().to_string();
    let plant = |package: &str, patched: &str| {
        let advisory = format!(
            "id = \"PLANTED-1\", package = \"{package}\", title = \"Planted\", url = \"https://a.example\""
        );
        let entry = format!(
            "[[advisories]]\nadvisory = {{ {advisory} }}\nversions = {{ patched = [\"{patched}\"] }}\n"
        );
        fs::write(&file, entry).expect("a file");
    };
    let arguments = ["--advisories", advisories.as_str()];
    for name in ["axum-chassis", "axum-chassis-logs", "axum-chassis-settings"] {
        plant(name, ">= 99.0.0");
        let found = parts(&folder, &arguments, 1);
        assert_eq!(behind(&found), [format!("crate {name}")]);
        let part = found.iter().find(|part| is_behind(part)).expect("a part");
        assert_eq!(part["state"], "vulnerable");
        assert_eq!(part["reason"], "PLANTED-1, Planted, https://a.example");
        // No release that this tool has is fixed.
        let command = part["remedy"]["command"].as_str().expect("a command");
        assert!(
            command.starts_with("cargo install --git") && command.ends_with("cargo chassis update")
        );
        plant(name, &format!(">= {VERSION}"));
        parts(&folder, &arguments, 0);
    }
    // The service does not have this crate.
    plant("axum-chassis-sqlx", ">= 99.0.0");
    parts(&folder, &arguments, 0);

    let (_old, old) = service_of_0_5_0();
    plant("axum-chassis", &format!(">= {VERSION}"));
    let found = parts(&old, &arguments, 1);
    let part = found.iter().find(|part| part["state"] == "vulnerable");
    assert_eq!(
        part.expect("a part")["remedy"]["command"],
        "cargo chassis update"
    );
    said(chassis(&old).arg("update"), 0);
    parts(&old, &arguments, 0);
}

#[test]
fn a_vendored_crate_that_is_older_than_the_template_is_vendored_again() {
    let (_place, folder) = service(&[]);
    let manifest = folder.join("vendor/axum-chassis/Cargo.toml");
    edit(
        &manifest,
        &format!("version = \"{VERSION}\""),
        "version = \"0.5.0\"",
    );
    let found = parts(&folder, &[], 1);
    let part = found.iter().find(|part| is_behind(part)).expect("a part");
    let command = part["remedy"]["command"].as_str().expect("a command");
    assert_eq!(command, "rm -r vendor && cargo chassis vendor");
    fs::remove_dir_all(folder.join("vendor")).expect("a folder");
    said(chassis(&folder).arg("vendor"), 0);
    parts(&folder, &[], 0);
}

#[test]
fn a_project_that_is_not_a_service_is_compared_without_a_template() {
    let place = tempfile::tempdir().expect("a folder");
    let package = "[package]\nname = \"other\"\nedition = \"2024\"\n";
    fs::write(place.path().join("Cargo.toml"), package).expect("a file");
    fs::write(place.path().join("Dockerfile"), "FROM rust:1.90-slim\n").expect("a file");
    let found = parts(place.path(), &[], 1);
    assert_eq!(behind(&found), ["base image rust"]);
    assert_eq!(found.len(), 1);
}

#[test]
fn a_crate_in_a_program_that_was_not_generated_is_renewed_from_its_source() {
    let place = tempfile::tempdir().expect("a folder");
    let lock = "[[package]]\nname = \"axum-chassis\"\nversion = \"0.5.0\"\n";
    fs::write(place.path().join("Cargo.lock"), lock).expect("a file");
    for (dependency, command) in [
        ("\"0.5\"", &*format!("cargo add axum-chassis@{VERSION}")),
        (
            "{ git = \"https://a.example\" }",
            "cargo update axum-chassis",
        ),
        (
            "{ path = \"../axum-chassis\" }",
            "git -C ../axum-chassis pull",
        ),
    ] {
        let manifest =
            format!("[package]\nname = \"own\"\n\n[dependencies]\naxum-chassis = {dependency}\n");
        fs::write(place.path().join("Cargo.toml"), manifest).expect("a file");
        let found = parts(place.path(), &[], 1);
        assert_eq!(behind(&found), ["crate axum-chassis"]);
        assert_eq!(found[0]["files"][0], "Cargo.lock");
        assert_eq!(found[0]["remedy"]["command"], command);
    }
}

#[test]
fn an_older_tool_and_invalid_advisories_are_reported() {
    let (place, folder) = service(&[]);
    let refused = |advisories: &str| {
        let file = place.path().join("advisories.toml");
        fs::write(&file, advisories).expect("a file");
        said(
            chassis(&folder).args(["doctor", "--advisories"]).arg(&file),
            2,
        )
    };
    let entry =
        |rest: &str| format!("[[advisories]]\nadvisory = {{ id = \"A-1\", package = \"{rest} }}\n");
    for (advisories, reason) in [
        ("".to_owned(), "expected a list `advisories`"),
        (
            entry("axum\""),
            "A-1: unknown package `axum`, expected one of axum-chassis",
        ),
        (entry("axum-chassis\""), "A-1 has no `versions.patched`"),
        (
            entry("axum-chassis\"") + "versions = { patched = [\"new\"] }",
            "A-1: invalid range `new`",
        ),
    ] {
        let printed = refused(&advisories);
        assert!(
            printed.contains("advisories.toml") && printed.contains(reason),
            "{printed}"
        );
    }
    let mut doctor = chassis(&folder);
    doctor.args(["doctor", "--json", "--advisories", "missing"]);
    let output = doctor.output().expect("the tool");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let error = report["error"].as_str().expect("an error");
    assert!(error.contains("cannot read missing"), "{error}");

    edit(
        &folder.join(".chassis.toml"),
        &format!("template = \"{VERSION}\""),
        "template = \"99.0.0\"",
    );
    let found = parts(&folder, &[], 1);
    assert_eq!(behind(&found), ["template"]);
    let command = found[0]["remedy"]["command"].as_str().expect("a command");
    assert!(command.starts_with("cargo install --git"), "{command}");

    let empty = tempfile::tempdir().expect("a folder");
    let printed = said(chassis(empty.path()).arg("doctor"), 2);
    assert!(printed.contains("no Cargo project found"), "{printed}");
}
