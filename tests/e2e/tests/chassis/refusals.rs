//! Wrong use: one clear line, exit code 2, and nothing written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{cargo, root, said, succeed};

use crate::tool::{TARGET, chassis, workspace_with_members};

/// The tool's error. Checks that the folder is unchanged.
fn refused(folder: &Path, words: &[&str]) -> String {
    let before = e2e::files(folder, &[]);
    let said = said(chassis(folder).args(words), 2);
    assert_eq!(e2e::files(folder, &[]), before, "{words:?}");
    assert!(said.starts_with("error: "), "{said}");
    said
}

#[test]
fn invalid_arguments_are_reported_with_valid_ones() {
    let empty = tempfile::tempdir().expect("a folder");
    for (words, reason) in [
        (&["generate"][..], "unrecognized subcommand 'generate'"),
        (&["new"], "<PATH>"),
        (&["new", "orders", "--fast"], "unexpected argument '--fast'"),
        (
            &["add", "helm"],
            "possible values: images, kubernetes, compose, ci",
        ),
        (&["add"], "<ASSETS>"),
        (
            &["new", "orders", "-d", "flavour=sweet"],
            "invalid `-d flavour=sweet`: unknown question `flavour`, expected one of description, example, database, redis, openapi, otlp, auth, deploy, chassis",
        ),
        (
            &["new", "orders", "-d", "chassis=floppy"],
            "invalid `-d chassis=floppy`: expected one of auto, vendored, registry, git, path",
        ),
        (
            &["new", "orders", "-d", "chassis"],
            "-d chassis: missing \"=\", expected NAME=VALUE",
        ),
        (
            &["new", "orders", "-d", "chassis-url=https://a.example"],
            "it needs `-d chassis=git` too",
        ),
        (
            &["new", "orders", "-d", "description=\"quoted\""],
            "expected a match of the pattern",
        ),
        (&["new", "a/match"], "it is a keyword of Rust"),
        (
            &["new", "/"],
            "invalid path `/`: its last part has to be the service's name",
        ),
        (&["add", "images"], "no Cargo project found"),
        (&["vendor"], "depends on axum-chassis"),
        (&["update"], "no axum-chassis service found"),
        (
            &["check"],
            "no manifests found in k8s: set their folder with --manifests",
        ),
    ] {
        let said = refused(empty.path(), words);
        assert!(said.contains(reason), "{words:?}: {said}");
        // Clap's own add how it is used.
        let lines = said.lines().count();
        assert!(lines == 1 || said.contains("--help"), "{words:?}: {said}");
    }
}

#[test]
fn a_folder_that_is_in_use_is_left_alone() {
    let place = tempfile::tempdir().expect("a folder");
    fs::create_dir(place.path().join("orders")).expect("a folder");
    fs::write(place.path().join("orders/mine"), "").expect("a file");
    fs::write(place.path().join("file"), "").expect("a file");
    for (path, reason) in [
        (
            "orders",
            "already exists and is not empty; nothing was changed",
        ),
        ("file", "cannot use"),
        ("file/orders", "cannot"),
    ] {
        let said = refused(place.path(), &["new", path]);
        assert!(said.contains(reason), "{said}");
    }
}

/// Stands in for a compiler that cannot be installed beside the one that runs the tests, as far as its version is asked
/// for; `cargo xtask compilers` has a real one.
fn rustc_of(version: &str, folder: &Path) -> PathBuf {
    let rustc = folder.join("rustc");
    let script = format!("#!/bin/sh\necho 'rustc {version} (0123456789 2025-01-01)'\n");
    fs::write(&rustc, script).expect("a script");
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).expect("permissions");
    rustc
}

#[test]
fn an_old_compiler_is_reported_before_cargo_lists_packages() {
    let place = tempfile::tempdir().expect("a folder");
    let compiler = tempfile::tempdir().expect("a folder");
    let rustc = rustc_of("1.89.0", compiler.path());
    for (answer, needed) in [("database=none", "1.90"), ("database=sqlite", "1.94")] {
        let mut new = chassis(place.path());
        new.args(["new", "orders", "-d", answer]);
        let told = said(new.env("RUSTC", &rustc), 2);
        let line = format!("error: orders needs Rust {needed} or newer, and rustc here is 1.89.0");
        assert!(told.starts_with(&line), "{told}");
        assert!(told.contains("rustup update stable"), "{told}");
        assert!(!place.path().join("orders").exists());
    }

    // In a checkout the tool itself is compiled first.
    succeed(cargo(&root()).args(["build", "--quiet", "--locked", "--package", "launch"]));
    let mut launch = Command::new(TARGET.join("debug/launch"));
    let told = said(
        launch
            .current_dir(root())
            .env("RUSTC", &rustc)
            .arg("--version"),
        2,
    );
    assert!(
        told.starts_with("error: cargo chassis needs Rust 1.90 or newer"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

/// The launcher starts the cargo that the variable names: here, a script that prints its arguments.
#[test]
fn in_a_checkout_the_tool_for_new_is_compiled_without_check() {
    let place = tempfile::tempdir().expect("a folder");
    let printer = place.path().join("cargo");
    fs::write(&printer, "#!/bin/sh\necho \"$@\"\n").expect("a script");
    fs::set_permissions(&printer, fs::Permissions::from_mode(0o755)).expect("permissions");
    succeed(cargo(&root()).args(["build", "--quiet", "--locked", "--package", "launch"]));
    for (command, features) in [("new", " --no-default-features"), ("check", "")] {
        let mut launch = Command::new(TARGET.join("debug/launch"));
        let arguments = said(
            launch
                .current_dir(root())
                .env("CARGO", &printer)
                .args([command, "../orders"]),
            0,
        );
        let expected = format!("run --package cargo-chassis{features} -- {command} ../orders\n");
        assert_eq!(arguments, expected);
    }

    let mut tree = cargo(&root());
    tree.args([
        "tree",
        "--locked",
        "--package=cargo-chassis",
        "--prefix=none",
    ]);
    let crates = |tree: &mut Command| String::from_utf8_lossy(&succeed(tree).stdout).into_owned();
    assert!(crates(&mut tree).contains("promql-parser"));
    assert!(!crates(tree.arg("--no-default-features")).contains("promql-parser"));
}

#[test]
fn a_project_without_a_binary_or_with_several_is_an_error() {
    let empty = workspace_with_members();
    let said = refused(empty.path(), &["add", "images"]);
    assert!(said.contains("has a binary"), "{said}");

    let several = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(several.path().join("src/bin")).expect("a folder");
    let manifest = "[package]\nname = \"several\"\nedition = \"2024\"\n";
    fs::write(several.path().join("Cargo.toml"), manifest).expect("a manifest");
    for name in ["one", "two"] {
        let file = several.path().join(format!("src/bin/{name}.rs"));
        fs::write(file, "fn main() {}\n").expect("a program");
    }
    let said = refused(several.path(), &["add", "images"]);
    for choice in [
        "-d package=several -d bin=one",
        "-d package=several -d bin=two",
    ] {
        assert!(said.contains(choice), "{said}");
    }
    for (define, reason) in [
        ("bin=three", "-d bin=one"),
        (
            "port=0",
            "invalid `-d port=0`: expected a port from 1 to 65535",
        ),
        (
            "colour=red",
            "unknown name `colour`, expected package, bin or port",
        ),
    ] {
        let words = ["add", "images", "-d", define];
        let said = refused(several.path(), &words);
        assert!(said.contains(reason), "{said}");
    }
}
