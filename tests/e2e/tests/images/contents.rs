//! The contents of an image: the code of its own checkout, also during parallel builds, and nothing private.

use std::{fs, path::Path, thread};

use tempfile::TempDir;

use e2e::{cargo, edit, succeed};

use crate::{
    docker::{Build, Image},
    generated::generate,
    projects::{self, copy_of},
};

/// Where a package is that is not of the workspace.
const OUTSIDE: [&str; 2] = ["lib/util", "vendor/util"];

/// A program that prints `word`, which a package outside of its workspace has.
fn branch(word: &str, package: &str, seconds: u64) -> TempDir {
    let project = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| write(project.path(), path, text);
    write(
        "Cargo.toml",
        &format!(
            "[workspace]\nexclude = [\"{package}\"]\n[package]\nname = \"branches\"\nversion = \"0.1.0\"\n\
             edition = \"2024\"\n[dependencies]\nutil = {{ path = \"{package}\" }}\n"
        ),
    );
    write(
        "src/main.rs",
        "fn main() { println!(\"{}\", util::WORD); }\n",
    );
    write(
        &format!("{package}/Cargo.toml"),
        "[package]\nname = \"util\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    write(
        &format!("{package}/src/lib.rs"),
        &format!("pub const WORD: &str = \"{word}\";\n"),
    );
    // As long as dependencies take, so that the other build has the time to come between.
    let slow =
        format!("fn main() {{ std::thread::sleep(std::time::Duration::from_secs({seconds})); }}\n");
    write(&format!("{package}/build.rs"), &slow);
    succeed(cargo(project.path()).args(["generate-lockfile", "--quiet"]));
    project
}

fn write(project: &Path, path: &str, text: &str) {
    let path = project.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn build(project: &Path) -> Image {
    projects::build(project, "Dockerfile.distroless").image()
}

/// Two branches of one project, built at once; then one of them again, alone.
fn each_image_has_its_own_code(round: usize) {
    for package in OUTSIDE {
        for seconds in [0, 5] {
            let words = ["main", "feature"]
                .map(|name| format!("{name} {round} {:?}", thread::current().id()));
            let branches = words.each_ref().map(|word| branch(word, package, seconds));
            thread::scope(|scope| {
                let builds = branches
                    .each_ref()
                    .map(|branch| scope.spawn(|| build(branch.path())));
                for (build, word) in builds.into_iter().zip(&words) {
                    assert_eq!(build.join().expect("an image").prints(), *word, "{package}");
                }
            });
            assert_eq!(build(branches[1].path()).prints(), words[1], "{package}");
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn two_branches_built_at_once_each_have_their_own_code() {
    each_image_has_its_own_code(0);
}

pub(crate) fn five_times() {
    for round in 1..=5 {
        each_image_has_its_own_code(round);
    }
}

/// The files of an old commit are older than everything that was compiled.
#[test]
#[ignore = "needs Docker"]
fn a_change_counts_however_old_its_file_is() {
    for package in OUTSIDE {
        let project = branch("first", package, 0);
        assert_eq!(build(project.path()).prints(), "first");
        for (word, path) in [
            ("second", format!("{package}/src/lib.rs")),
            ("third", "src/main.rs".to_owned()),
        ] {
            let file = project.path().join(path);
            if word == "third" {
                edit(&file, "util::WORD", "\"third\"");
            } else {
                edit(&file, "first", word);
            }
            succeed(
                std::process::Command::new("touch")
                    .args(["-d", "2020-01-01"])
                    .arg(&file),
            );
            assert_eq!(build(project.path()).prints(), word, "{package}");
        }
    }
}

/// There it is compiled without its sources first, like each member.
#[test]
#[ignore = "needs Docker"]
fn a_member_in_the_folder_of_vendored_packages_is_compiled_from_its_sources() {
    let project = branch("real", "vendor/util", 0);
    edit(&project.path().join("Cargo.toml"), "exclude", "members");
    assert_eq!(build(project.path()).prints(), "real");
}

#[test]
#[ignore = "needs Docker"]
fn two_projects_do_not_wait_for_each_other() {
    let slow = branch("slow", "vendor/util", 20);
    let quick = copy_of("single-bin");
    edit(
        &quick.path().join("src/main.rs"),
        "\n",
        &format!("\n// In {quick:?}.\n"),
    );
    thread::scope(|scope| {
        let slow = scope.spawn(|| build(slow.path()));
        build(quick.path());
        assert!(!slow.is_finished(), "the quick build ends first");
        assert_eq!(slow.join().expect("an image").prints(), "slow");
    });
}

/// In the layers of the image, and in those of the build stages, which `--cache-to type=registry,mode=max` pushes.
#[test]
#[ignore = "needs Docker"]
fn nothing_private_is_in_any_layer() {
    const PRIVATE: &str = "value-that-must-not-leak";
    let credentials = tempfile::tempdir().expect("a folder");
    let token = credentials.path().join("credentials.toml");
    fs::write(
        &token,
        format!("[registries.private]\ntoken = \"{PRIVATE}\"\n"),
    )
    .expect("a file");
    let secret = format!("--secret=id=cargo-credentials,src={}", token.display());
    let comment = format!("# {PRIVATE}\n");
    let service = generate(&[]);
    let common = [
        ".env",
        ".env.local",
        ".netrc",
        ".npmrc",
        ".cargo/credentials.toml",
        ".git/config",
        "config/dev.toml",
        "config/local.toml",
        "k8s/components/secret/admin.token",
        "server.key",
        "server.pem",
        "target/debug/orders",
    ];
    // The build stages are the same in both files.
    let (project, file) = (copy_of("single-bin"), "Dockerfile.distroless");
    for path in common {
        write(project.path(), path, &comment);
    }
    // Of a generated service, which leaves out more; and of any project.
    for ignore in [
        service.path().join(".dockerignore"),
        e2e::root().join(".dockerignore"),
    ] {
        fs::copy(ignore, project.path().join(".dockerignore")).expect("a file");
        for target in ["plan", "build", "healthcheck-none"] {
            let build = Build::of(project.path(), file)
                .option(&secret)
                .option(&format!("--target={target}"));
            let archive = build.image().archive();
            let leaks = archive
                .windows(PRIVATE.len())
                .any(|window| window == PRIVATE.as_bytes());
            assert!(!archive.is_empty() && !leaks, "{file}: {target}");
        }
    }
}
