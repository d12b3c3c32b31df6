//! The place of a new service: within a workspace, or in a clone; and its files in git.

use std::fs;
use std::path::Path;

use e2e::{cargo, commit, contents, edit, git, said, succeed};

use crate::tool::{chassis, read};

/// `cargo chassis new`, without the build at its end.
fn new(folder: &Path, path: &str, code: i32) -> String {
    let mut new = chassis(folder);
    new.args(["new", path]).env("CARGO", "true");
    said(&mut new, code)
}

#[test]
fn a_workspace_around_the_new_service_still_builds() {
    let place = tempfile::tempdir().expect("a folder");
    let top = place.path();
    let builds = |folder: &Path| succeed(cargo(folder).args(["check", "--quiet", "--offline"]));
    fs::create_dir_all(top.join("services/stock/src")).expect("a folder");
    fs::write(top.join("services/stock/src/lib.rs"), "").expect("a file");
    let stock = "[package]\nname = \"stock\"\nedition = \"2024\"\n";
    fs::write(top.join("services/stock/Cargo.toml"), stock).expect("a file");
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"services/*\"]\n";
    fs::write(top.join("Cargo.toml"), workspace).expect("a file");
    builds(top);

    let before = contents(top);
    let refused = new(top, "services/orders", 2);
    let root = top.canonicalize().expect("a folder").join("Cargo.toml");
    let way = format!(
        "add \"services/orders\" to `workspace.exclude` in {}",
        root.display()
    );
    for part in ["has the members \"services/*\"", "outside of", &way] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(contents(top) == before, "nothing is written");

    new(top, "tools/orders", 0);
    builds(top);
    let exclude = format!("{workspace}exclude = [\"services/orders\"]\n");
    fs::write(top.join("Cargo.toml"), exclude).expect("a file");
    new(top, "services/orders", 0);
    builds(top);
    let members = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    succeed(cargo(&top.join("services/orders")).args(members));
}

#[test]
fn a_fresh_clone_becomes_the_service() {
    let place = tempfile::tempdir().expect("a folder");
    let clone = place.path().join("orders");
    fs::create_dir(&clone).expect("a folder");
    git(&clone, &["init", "--quiet"]);
    for (file, text) in [
        ("LICENSE", "Ours.\n"),
        ("README.md", "# orders\n"),
        (".gitignore", "target\n"),
    ] {
        fs::write(clone.join(file), text).expect("a file");
    }
    let before = contents(place.path());
    let refused = new(place.path(), "orders", 2);
    assert!(refused.contains("uncommitted changes"), "{refused}");
    assert!(contents(place.path()) == before, "nothing is written");

    commit(&clone, "Initial commit");
    let told = new(&clone, ".", 0);
    for line in [
        "Replaced README.md: `git show HEAD:README.md` prints the previous one",
        "Replaced .gitignore",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(read(&clone.join("LICENSE")), "Ours.\n");
    assert!(read(&clone.join("README.md")).contains("## Run and test"));
    assert!(clone.join("src/main.rs").exists());
    assert_eq!(git(&clone, &["log", "--format=%s"]), "Initial commit\n");
    let left = place.path().read_dir().expect("a folder").count();
    assert_eq!(left, 1, "nothing is left beside it");
}

#[test]
fn git_ignores_settings_of_one_machine_and_keeps_line_endings() {
    let place = tempfile::tempdir().expect("a folder");
    new(place.path(), "orders", 0);
    let folder = place.path().join("orders");
    for ignored in [".env", ".env.local", "config/local.toml", "target/debug"] {
        git(&folder, &["check-ignore", ignored]);
    }
    git(&folder, &["add", "."]);
    let committed = git(&folder, &["ls-files"]);
    for file in [
        "config/default.toml",
        "Cargo.lock",
        ".editorconfig",
        "vendor/axum-chassis/Cargo.toml",
    ] {
        assert!(committed.lines().any(|line| line == file), "{file}");
    }
    let attributes = |file| git(&folder, &["check-attr", "text", "eol", "--", file]);
    for file in [
        "scripts/deploy.sh",
        "migrations/0002_more.sql",
        "src/main.rs",
    ] {
        assert!(attributes(file).contains("eol: lf"), "{file}");
    }
    assert!(attributes("vendor/axum-chassis/src/lib.rs").contains("text: unset"));

    // A checkout on Windows.
    commit(&folder, "generated");
    git(&folder, &["config", "core.autocrlf", "true"]);
    edit(&folder.join("scripts/deploy.sh"), "\n", "\n# Ours.\n");
    git(&folder, &["checkout", "scripts/deploy.sh"]);
    assert!(!read(&folder.join("scripts/deploy.sh")).contains('\r'));
}
