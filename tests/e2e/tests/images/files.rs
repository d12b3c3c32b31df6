//! What the Dockerfiles themselves show, with no Docker.

use std::{fs, process::Command};

use e2e::{root, succeed};

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
    for name in ["Dockerfile", "Dockerfile.distroless"] {
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

/// Runs a program in the repository; it has to succeed.
fn passes(program: &str, arguments: &[&str]) {
    succeed(Command::new(program).args(arguments).current_dir(root()));
}

#[test]
#[ignore = "needs hadolint"]
fn the_dockerfiles_are_free_of_what_hadolint_knows() {
    passes("hadolint", &["Dockerfile", "Dockerfile.distroless"]);
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
