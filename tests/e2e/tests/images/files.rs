//! What the Dockerfiles themselves show, with no Docker.

use std::{fs, process::Command};

use e2e::{root, succeed};

const DOCKERFILES: [&str; 2] = ["Dockerfile", "Dockerfile.distroless"];

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// The part that makes the binary.
fn build_stages(dockerfile: &str) -> &str {
    let start = dockerfile
        .find("# --- Alike in Dockerfile")
        .expect("where the build stages start");
    let end = dockerfile
        .find("# --- Alike up to here")
        .expect("where they end");
    &dockerfile[start..end]
}

#[test]
fn both_dockerfiles_make_the_binary_alike() {
    let (slim, distroless) = (read("Dockerfile"), read("Dockerfile.distroless"));
    assert_eq!(build_stages(&slim), build_stages(&distroless));
}

#[test]
fn nothing_is_pulled_but_the_base_images() {
    for name in DOCKERFILES {
        let text = read(name);
        assert!(
            !text.lines().any(|line| line.starts_with("# syntax=")),
            "{name} pulls a frontend"
        );
        for base in text
            .lines()
            .filter_map(|line| line.strip_prefix("FROM "))
            .filter(|base| base.contains('/'))
        {
            assert!(base.contains("gcr.io/distroless/"), "{name}: {base}");
        }
    }
}

/// Whoever copies a file has to read it all.
#[test]
fn a_dockerfile_is_short_and_holds_no_programs() {
    for name in DOCKERFILES {
        let text = read(name);
        assert!(text.lines().count() <= 120, "{name} is too long");
        let words = |line: &str| {
            line.split_whitespace()
                .any(|word| ["awk", "sed"].contains(&word))
        };
        assert!(!text.lines().any(words), "{name} calls awk or sed");
        for instruction in instructions(&text) {
            assert!(instruction.len() <= 10, "{name}: {instruction:?}");
        }
    }
}

/// Each with the lines that continue it.
fn instructions(dockerfile: &str) -> Vec<Vec<&str>> {
    let mut instructions: Vec<Vec<&str>> = Vec::new();
    let mut continued = false;
    for line in dockerfile.lines() {
        match instructions.last_mut() {
            Some(last) if continued => last.push(line),
            _ => instructions.push(vec![line]),
        }
        continued = line.ends_with('\\');
    }
    instructions
}

#[test]
fn the_debian_release_is_named_once() {
    for name in DOCKERFILES {
        let text = read(name);
        for release in ["trixie", "debian13"] {
            let named = text.matches(release).count();
            assert!(named <= 1, "{name} names {release} {named} times");
        }
        assert!(text.contains("DEBIAN=trixie"), "{name}");
    }
}

/// Runs a program in the repository; it has to succeed.
fn passes(program: &str, arguments: &[&str]) {
    succeed(Command::new(program).args(arguments).current_dir(root()));
}

#[test]
#[ignore = "needs hadolint"]
fn the_dockerfiles_are_free_of_what_hadolint_knows() {
    passes("hadolint", &DOCKERFILES);
}

#[test]
#[ignore = "needs check-jsonschema"]
fn the_compose_file_fits_its_schema() {
    passes(
        "check-jsonschema",
        &[
            "--builtin-schema",
            "vendor.compose-spec",
            "docker-compose.yml",
        ],
    );
}

#[test]
#[ignore = "needs promtool"]
fn prometheus_takes_its_settings_and_the_rules_as_the_compose_file_makes_them() {
    passes("promtool", &["check", "config", "compose/prometheus.yml"]);
    let compose = read("docker-compose.yml");
    let start = compose
        .find("sed -n")
        .expect("the command that makes the rules");
    let end = start + compose[start..].find(" >/tmp").expect("its end");
    let command = compose[start..end].replace("$$", "$");
    let command = command.replace("/etc/prometheus/", "k8s/components/alerts/");
    passes(
        "sh",
        &[
            "-c",
            &format!("{command} | promtool check rules /dev/stdin"),
        ],
    );
}

#[test]
fn what_the_compose_file_mounts_is_there() {
    let compose = read("docker-compose.yml");
    let sources = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ./"));
    for source in sources.filter_map(|mount| mount.split(':').next()) {
        assert!(root().join(source).exists(), "{source}");
    }
}
