//! `cargo chassis update`: merges changes of the template into an edited service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use cargo_chassis::embedded::{self, VERSION};
use e2e::{Contents, cargo, commit, contents, edit, git, root, said, succeed, wait_for};
use tempfile::TempDir;

use crate::generate::generate;
use crate::tool::{TARGET, chassis, read};

/// A service as an earlier release made it, committed, with the chassis from this checkout.
pub(crate) struct Old {
    _place: TempDir,
    pub(crate) folder: PathBuf,
}

impl Old {
    pub(crate) fn new(name: &str) -> Self {
        Self::of_release("0.1.0", name, &[])
    }

    fn of_release(version: &str, name: &str, answers: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let release = embedded::release(version).expect("a release");
        let template = place.path().join("template");
        release.unpack("template", &template).expect("a template");
        let path = format!("chassis-path={}", root().display());
        let define = [&["chassis=path", &path, "workspace=own"], answers].concat();
        generate(&template, place.path(), name, &define);
        let folder = place.path().join(name);
        fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
        git(&folder, &["init", "--quiet"]);
        commit(&folder, "generated");
        Self {
            _place: place,
            folder,
        }
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        edit(&self.file(path), from, to);
    }

    /// Everything that an update could change: the files, the index, the commits.
    pub(crate) fn state(&self) -> (Contents, String, String) {
        (
            contents(&self.folder),
            git(&self.folder, &["ls-files", "--stage"]),
            git(&self.folder, &["log", "--all", "--format=%H"]),
        )
    }
}

#[test]
fn edits_a_deleted_file_and_a_conflict_survive_the_update_of_a_first_release() {
    let old = Old::new("old-orders");
    // Ten files of the owner's, some of them among those that the template has changed.
    let edits = [
        ("src/main.rs", "fn main()", "/// Ours.\nfn main()"),
        (
            "src/routes.rs",
            "    service: &'static str",
            "    // Ours.\n    service: &'static str",
        ),
        ("src/store.rs", "use ", "// Ours.\nuse "),
        ("tests/service.rs", "//! Starts", "// Ours.\n//! Starts"),
        ("config/default.toml", "[", "# Ours.\n["),
        ("deny.toml", "[", "# Ours.\n["),
        (".gitignore", "target/\n", "target/\n/ours\n"),
        ("Cargo.toml", "publish = false", "publish = false # Ours."),
        (
            "k8s/base/workload/deployment.yaml",
            "spec:",
            "# Ours.\nspec:",
        ),
        ("README.md", "## Settings", "## Ours\n\n## Settings"),
        ("scripts/deploy.sh", "usage() {", "# Ours.\nusage() {"),
    ];
    for (path, from, to) in edits {
        old.edit(path, from, to);
    }
    // One that the template has changed since, deleted.
    fs::remove_file(old.file("k8s/README.md")).expect("a file");
    // One that both changed alike.
    let now = tempfile::tempdir().expect("a folder");
    generate(&root().join("template"), now.path(), "old-orders", &[]);
    let alike = read(&now.path().join("old-orders/docker-compose.yml"));
    fs::write(old.file("docker-compose.yml"), &alike).expect("a file");
    // The same lines changed on both sides.
    old.edit(
        "README.md",
        "comes from a folder on this machine",
        "comes from our own disk",
    );
    commit(&old.folder, "ours");

    let check = said(chassis(&old.file("src")).args(["update", "--check"]), 1);
    assert!(
        check.contains(&format!("from 0.1.0 to {VERSION}")),
        "{check}"
    );
    let before = git(&old.folder, &["status", "--porcelain"]);
    assert_eq!(before, "", "--check changes nothing");

    let merged = said(chassis(&old.file("src")).arg("update"), 1);
    for line in [
        "Added .chassis.toml",
        "Changed Cargo.toml",
        "Conflict README.md",
        // The project edited a file that is a folder in the new template.
        "Conflict tests/service.rs",
        "Left out k8s/README.md: the template changed it, and it was deleted here",
    ] {
        assert!(merged.contains(line), "{line}: {merged}");
    }
    assert!(!merged.contains("docker-compose"), "{merged}");
    assert!(!old.file("k8s/README.md").exists());
    assert_eq!(read(&old.file("docker-compose.yml")), alike);
    for (path, _, to) in edits {
        let text = read(&old.file(path));
        assert!(text.contains(to), "{path}: {text}");
        assert_eq!(text.contains("<<<<<<<"), path == "README.md", "{path}");
    }
    let manifest = read(&old.file("Cargo.toml"));
    assert!(manifest.contains("`cargo chassis vendor`"), "{manifest}");
    let mode = old.file("scripts/deploy.sh").metadata().expect("a file");
    assert_ne!(mode.permissions().mode() & 0o100, 0);

    // As after any merge.
    let readme = read(&old.file("README.md"));
    let (kept, rest) = readme.split_once("<<<<<<< ").expect("a conflict");
    let (_, rest) = rest.split_once("\n>>>>>>> ").expect("an end");
    let (_, rest) = rest.split_once('\n').expect("more lines");
    assert!(rest.contains("## Update"), "{rest}");
    fs::write(old.file("README.md"), [kept, rest].concat()).expect("a file");
    fs::remove_file(old.file("tests/service.rs")).expect("a file");
    let mut test = cargo(&old.folder);
    succeed(test.arg("test").env("CARGO_TARGET_DIR", &*TARGET));
    commit(&old.folder, "updated");
    let check = said(chassis(&old.folder).args(["update", "--check"]), 0);
    assert!(check.contains("Current"), "{check}");
    let again = said(chassis(&old.folder).arg("update"), 0);
    assert!(again.contains("Current"), "{again}");
}

#[test]
fn a_renamed_service_keeps_its_name_and_needs_no_history() {
    let old = Old::new("orders");
    let named = git(&old.folder, &["grep", "--name-only", "orders"]);
    for path in named.lines().filter(|path| !path.starts_with("src/")) {
        let text = read(&old.file(path));
        // Its routes are still called so.
        let prefixes = match path {
            "README.md" => &["# ", "Takes ", "info,", "-t ", "9090 "][..],
            path if path.starts_with("tests/") => &["EXE_"],
            _ => &[""],
        };
        let renamed = prefixes.iter().fold(text, |text, prefix| {
            text.replace(&format!("{prefix}orders"), &format!("{prefix}desk"))
        });
        fs::write(old.file(path), renamed).expect("a file");
    }
    commit(&old.folder, "renamed");
    // As a squash merge and a shallow clone leave it.
    let clone = old.folder.join("../clone");
    let url = format!("file://{}", old.folder.display());
    git(
        &old.folder,
        &["clone", "--quiet", "--depth=1", &url, "../clone"],
    );

    let merged = said(chassis(&clone).arg("update"), 0);
    assert!(merged.contains("into desk"), "{merged}");
    let record = read(&clone.join(".chassis.toml"));
    assert!(record.contains("project-name = \"desk\""), "{record}");
    let compose = read(&clone.join("docker-compose.yml"));
    assert!(!compose.contains("orders"), "{compose}");
    let check = said(chassis(&clone).args(["update", "--check"]), 0);
    assert!(check.contains("Current"), "{check}");
}

#[test]
fn a_service_within_a_larger_repository_is_updated_alone() {
    let old = Old::new("orders");
    let repository = tempfile::tempdir().expect("a folder");
    let inner = repository.path().join("services/orders");
    fs::create_dir_all(inner.parent().expect("a folder")).expect("a folder");
    fs::rename(&old.folder, &inner).expect("the same file system");
    fs::remove_dir_all(inner.join(".git")).expect("a repository");
    fs::write(repository.path().join("README.md"), "The platform.\n").expect("a file");
    git(repository.path(), &["init", "--quiet"]);
    commit(repository.path(), "all");

    let merged = said(chassis(&inner).arg("update"), 0);
    assert!(merged.contains("Added .chassis.toml"), "{merged}");
    let changed = git(repository.path(), &["status", "--porcelain"]);
    assert!(changed.contains("A  services/orders/.chassis.toml"));
    for line in changed.lines() {
        assert!(line[3..].starts_with("services/orders/"), "{changed}");
    }
}

#[test]
fn the_feature_that_exported_traces_becomes_a_crate_and_a_line() {
    for (answer, dependencies, lines) in [("otlp=yes", 1, 1), ("otlp=no", 0, 0)] {
        let old = Old::of_release("0.5.0", "traced-orders", &[answer]);
        assert!(read(&old.file("Cargo.toml")).contains("axum-chassis/otlp"));
        said(chassis(&old.folder).arg("update"), 0);
        let manifest = read(&old.file("Cargo.toml"));
        assert!(!manifest.contains("axum-chassis/otlp"), "{manifest}");
        let count = |file: &str, text: &str| read(&old.file(file)).matches(text).count();
        assert_eq!(count("Cargo.toml", "axum-chassis-otlp = {"), dependencies);
        let line = ".export(axum_chassis_otlp::Otlp::from_env)";
        assert_eq!(count("src/main.rs", line), lines, "{answer}");
    }
}

#[test]
fn a_first_release_that_was_vendored_in_between_is_updated_to_a_vendored_one() {
    let old = Old::new("orders");
    said(chassis(&old.folder).arg("vendor"), 0);
    commit(&old.folder, "vendored");
    let merged = said(chassis(&old.folder).arg("update"), 0);
    assert!(!merged.contains("vendor/axum-chassis/"), "{merged}");
    let record = read(&old.file(".chassis.toml"));
    assert!(record.contains("chassis = \"vendored\""), "{record}");
    assert!(!record.contains("chassis-path"), "{record}");
}

/// A git that kills its caller at the nth call, and then does its work.
fn killing_git(place: &Path, nth: usize) -> String {
    let path = std::env::var("PATH").expect("a path");
    let real = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|git| git.is_file())
        .expect("git");
    let script = format!(
        "#!/bin/sh\ncalls={calls}\necho >>$calls\nif [ \"$(wc -l <$calls)\" -ne {nth} ]; then exec {git} \"$@\"; fi\n\
         kill -9 $PPID\n{git} \"$@\"\ntouch {ended}\n",
        calls = place.join("calls").display(),
        git = real.display(),
        ended = place.join("ended").display(),
    );
    for file in ["calls", "ended"] {
        let _ = fs::remove_file(place.join(file));
    }
    fs::write(place.join("git"), script).expect("a script");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.join("git"), mode).expect("a script");
    format!("{}:{path}", place.display())
}

#[test]
fn an_update_killed_at_any_point_has_changed_nothing_or_everything() {
    let old = Old::new("orders");
    let place = tempfile::tempdir().expect("a folder");
    let before = old.state();
    for nth in 1.. {
        let mut update = chassis(&old.folder);
        update.arg("update");
        let ended = update
            .env("PATH", killing_git(place.path(), nth))
            .output()
            .expect("the tool");
        if ended.status.signal().is_some() {
            let git_has = place.path().join("ended");
            wait_for("git to end", || git_has.exists().then_some(()));
        }
        let after = old.state();
        if after != before {
            let record = read(&old.file(".chassis.toml"));
            assert!(record.contains(VERSION), "{record}");
            assert!(old.file("docker-compose.yml").exists());
            let status = git(&old.folder, &["status", "--porcelain"]);
            assert!(
                status.lines().all(|line| &line[1..3] == "  "),
                "all of it is staged: {status}"
            );
            assert!(
                nth > 10,
                "it calls git more often than {nth} times before it merges"
            );
            return;
        }
        assert!(ended.status.signal().is_some(), "{ended:?}");
    }
}

#[test]
fn an_update_that_is_impossible_is_an_error_and_changes_nothing() {
    let old = Old::new("orders");
    let refused = |code: i32, reason: &str| {
        let before = old.state();
        let said = said(chassis(&old.folder).arg("update"), code);
        assert!(said.contains(reason), "{reason}: {said}");
        assert_eq!(old.state(), before);
    };

    old.edit("src/main.rs", "fn main()", "/// Ours.\nfn main()");
    refused(2, "src/main.rs");
    git(&old.folder, &["stash", "--quiet"]);

    // Nobody has committed it, so nobody could get it back.
    fs::write(old.file("docker-compose.yml"), "mine").expect("a file");
    refused(2, "docker-compose.yml");
    fs::remove_file(old.file("docker-compose.yml")).expect("a file");

    let record = "template = \"9.9.9\"\n[answers]\nproject-name = \"orders\"\n";
    fs::write(old.file(".chassis.toml"), record).expect("a file");
    commit(&old.folder, "a record");
    refused(2, "unknown template version 9.9.9: this tool has 0.1.0");
    fs::write(old.file(".chassis.toml"), "template = 1").expect("a file");
    refused(2, ".chassis.toml: expected the template's version");

    git(&old.folder, &["reset", "--quiet", "--hard", "HEAD^"]);
    fs::remove_dir_all(old.file(".git")).expect("a repository");
    let said = said(chassis(&old.folder).arg("update"), 2);
    assert!(said.contains("not in a git repository"), "{said}");
}

#[test]
fn an_edited_service_of_every_earlier_release_is_updated_without_a_conflict() {
    let releases = include_bytes!("../../../../cargo-chassis/releases.tar.lz");
    let releases = embedded::read_releases(releases).expect("an archive");
    let mut versions = embedded::versions(&releases);
    versions.retain(|version| version != VERSION);
    assert!(versions.len() >= 3, "{versions:?}");
    for version in versions {
        let old = Old::of_release(&version, "orders", &[]);
        for (path, from, to) in [
            ("src/main.rs", "fn main()", "/// Ours.\nfn main()"),
            (
                "src/routes.rs",
                "    service: &'static str",
                "    // Ours.\n    service: &'static str",
            ),
            (".gitignore", "target/\n", "target/\n/ours\n"),
            ("Cargo.toml", "publish = false", "publish = false # Ours."),
        ] {
            old.edit(path, from, to);
        }
        commit(&old.folder, "ours");
        let merged = said(chassis(&old.folder).arg("update"), 0);
        let from = format!("from {version} to {VERSION}");
        assert!(merged.contains(&from), "{merged}");
        assert!(read(&old.file("src/main.rs")).contains("/// Ours."));
        assert!(old.file("AGENTS.md").exists(), "{version}");
        assert!(old.file("src/orders.rs").exists(), "{version}");
        let record = read(&old.file(".chassis.toml"));
        assert!(record.contains("example = \"yes\""), "{version}: {record}");
        let mut format = cargo(&old.folder);
        succeed(format.args(["fmt", "--check"]));
        let mut build = cargo(&old.folder);
        build.args(["test", "--no-run", "--quiet"]);
        succeed(build.env("CARGO_TARGET_DIR", &*TARGET));
    }
}
