//! The Dockerfiles as text, without Docker.

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

/// A file that others maintain: short, and without programs.
#[test]
fn a_dockerfile_is_short_and_no_step_is_a_program() {
    for name in DOCKERFILES {
        let text = read(name);
        assert!(text.lines().count() <= 90, "{name} is too long");
        for instruction in instructions(&text) {
            if !instruction[0].starts_with("RUN ") {
                continue;
            }
            assert!(instruction.len() <= 4, "{name}: {instruction:?}");
            let words: Vec<&str> = instruction
                .iter()
                .flat_map(|line| line.split_whitespace())
                .collect();
            let count = |wanted: &[&str]| words.iter().filter(|word| wanted.contains(word)).count();
            assert_eq!(count(&["|", "awk", "sed", "xargs"]), 0, "{instruction:?}");
            assert!(count(&["if", "case", "||"]) <= 1, "{instruction:?}");
        }
    }
}

/// Dependabot passes over a `FROM` with an argument in it.
#[test]
fn each_base_image_is_named_literally() {
    for name in DOCKERFILES {
        let text = read(name);
        let mut stages = Vec::new();
        let mut bases = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let own = stages.contains(&words[0]) || words[0].contains("${");
            assert!(own || words[0].contains(':'), "{name}: {line}");
            bases += usize::from(!own);
            stages.extend(words.get(2));
        }
        assert!(bases >= 2, "{name}: {bases}");
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
fn all_bases_are_of_one_debian_release() {
    for name in DOCKERFILES {
        for line in read(name).lines().filter(|line| line.contains(':')) {
            let of_debian = ["FROM rust:", "FROM debian:", "FROM gcr.io/distroless/"];
            if of_debian.iter().any(|start| line.starts_with(start)) {
                let current = line.contains("-trixie")
                    || line.contains(":trixie")
                    || line.contains("debian13:");
                assert!(current, "{name}: {line}");
            }
        }
    }
}

/// Two builds that share compiled code can swap it; two that share downloads wait for each other.
#[test]
fn builds_share_no_cache() {
    for name in DOCKERFILES {
        assert!(!read(name).contains("type=cache"), "{name}");
    }
}

/// Build scripts of dependencies run in every other step.
#[test]
fn the_registrys_token_is_seen_by_the_steps_that_fetch_alone() {
    for name in DOCKERFILES {
        let text = read(name);
        let with_token: Vec<String> = instructions(&text)
            .into_iter()
            .map(|lines| lines.join(" "))
            .filter(|step| step.contains("type=secret"))
            .collect();
        assert_eq!(with_token.len(), 2, "{name}");
        for step in with_token {
            assert!(step.contains("cargo fetch"), "{name}: {step}");
            for compiles in [
                "cargo build",
                "cargo run",
                "auditable",
                "--profile",
                "$CHOICE",
            ] {
                assert!(!step.contains(compiles), "{name}: {step}");
            }
        }
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
