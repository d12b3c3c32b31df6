//! `cargo chassis new`: a service that stands on its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::{cargo, files, git, root, said, succeed, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use crate::generated_service::Generated;
use crate::tool::{chassis, read, workspace_with_members};

#[test]
fn new_run_starts_a_service_that_serves_until_it_is_stopped() {
    let around = workspace_with_members();
    let manifest = fs::read(around.path().join("Cargo.toml")).expect("a manifest");
    let folder = around.path().join("services/order-desk");

    let mut new = chassis(around.path())
        .args(["new", "services/order-desk", "--run"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool");
    let mut said = Vec::new();
    for line in BufReader::new(new.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        let last = line.contains("Ctrl-C");
        said.push(line);
        if last {
            break;
        }
    }
    let said = said.join("\n");
    assert!(said.contains("order-desk is ready"), "{said}");
    for path in ["/", "/orders", "/health/readiness", "/version", "/metrics"] {
        let answered = said.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|url| url.ends_with(path)) && words.next() == Some("200")
        });
        assert!(answered, "{path}: {said}");
    }
    kill_process(Pid::from_child(&new), Signal::TERM).expect("a running process");
    let status = wait_for("the end", || new.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));

    assert_eq!(
        fs::read(around.path().join("Cargo.toml")).ok(),
        Some(manifest)
    );
    assert_eq!(
        git(&folder, &["rev-parse", "--show-toplevel"]).trim(),
        folder.display().to_string(),
        "a repository of its own"
    );
    Generated::at(folder).keeps_its_promises("order-desk");
}

#[test]
fn the_vendored_crates_are_what_cargo_package_would_ship() {
    let place = tempfile::tempdir().expect("a folder");
    let mut new = chassis(place.path());
    new.args([
        "new",
        "orders",
        "-d",
        "database=postgres",
        "-d",
        "redis=yes",
        "-d",
        "otlp=yes",
    ]);
    said(new.env("CARGO", "true"), 0);
    for name in [
        "axum-chassis",
        "axum-chassis-logs",
        "axum-chassis-otlp",
        "axum-chassis-redis",
        "axum-chassis-server",
        "axum-chassis-settings",
        "axum-chassis-sqlx",
        "axum-chassis-testing",
    ] {
        let folder = place.path().join("orders/vendor").join(name);
        let vendored: BTreeSet<PathBuf> = files(&folder, &[])
            .into_iter()
            // So that `cargo fmt` of the service leaves it alone.
            .filter(|path| path.to_str() != Some("rustfmt.toml"))
            .collect();

        let list = succeed(cargo(&root()).args([
            "package",
            "--list",
            "--allow-dirty",
            &format!("--package={name}"),
        ]));
        let made_by_packaging = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml.orig"];
        let shipped: BTreeSet<PathBuf> = String::from_utf8(list.stdout)
            .expect("text")
            .lines()
            .filter(|file| !made_by_packaging.contains(file))
            .map(PathBuf::from)
            .collect();
        assert_eq!(vendored, shipped, "{name}");
        let manifest = read(&folder.join("Cargo.toml"));
        assert!(!manifest.contains("workspace ="), "{manifest}");
        // A feature that the crate adds to an inherited dependency stays.
        let adds_feature = name == "axum-chassis-otlp";
        assert_eq!(
            manifest.contains(r#"features = ["prometheus"]"#),
            adds_feature,
            "{manifest}"
        );
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let file = place
            .path()
            .join("orders/vendor/axum-chassis")
            .join(licence);
        assert!(file.exists(), "{licence}");
    }
}

/// `script` gives it a terminal.
#[test]
fn new_prompts_on_a_terminal_and_uses_the_defaults_elsewhere() {
    let place = tempfile::tempdir().expect("a folder");
    let new = chassis(place.path());
    let line = format!(
        "{} new asked -d chassis=git",
        new.get_program().to_string_lossy()
    );
    // A question that is not answered here would be waited for without end.
    let mut terminal = Command::new("timeout")
        .args(["--foreground", "120", "script", "--quiet", "--return"])
        .args(["--command", &line, "/dev/null"])
        .current_dir(place.path())
        .env("CARGO", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let mut keys = terminal.stdin.take().expect("a pipe");
    // A description, what is proposed four times, the second choice, and what is proposed three times.
    keys.write_all(b"Sells tea.\r\r\r\r\r\x1b[B\r\r\r\r")
        .expect("somebody who reads");
    let output = terminal.wait_with_output().expect("an end");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    for question in [
        "What does the service do",
        "An HTTP service.",
        "With an example",
        "Does it export traces",
        "Which git repository",
    ] {
        assert!(told.contains(question), "{question}: {told}");
    }
    let manifest = read(&place.path().join("asked/Cargo.toml"));
    for line in [
        "description = \"Sells tea.\"",
        "axum-chassis-otlp = { git = \"https://github.com/axum-chassis/axum-chassis\" }",
        "git = \"https://github.com/axum-chassis/axum-chassis\"",
    ] {
        assert!(manifest.contains(line), "{line}: {manifest}");
    }

    said(
        chassis(place.path())
            .args(["new", "unasked"])
            .env("CARGO", "true"),
        0,
    );
    let manifest = read(&place.path().join("unasked/Cargo.toml"));
    assert!(manifest.contains("An HTTP service."));
    assert!(manifest.contains("vendor/axum-chassis"), "{manifest}");
}
