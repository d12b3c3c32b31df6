//! The Dockerfiles as text, without Docker.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::LazyLock};

use cargo_chassis::template::render_here;
use e2e::{root, succeed};

const NAMES: [&str; 2] = ["Dockerfile", "Dockerfile.distroless"];

/// For any project, and of a service named `service`: both files of each.
static DOCKERFILES: LazyLock<[(&str, [String; 2]); 2]> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a folder");
    let define = ["chassis=registry".to_owned()];
    let service = render_here(&root().join("template"), place.path(), "service", &define);
    let of = |folder: &Path| NAMES.map(|name| fs::read_to_string(folder.join(name)).expect(name));
    [
        ("for any project", of(&root())),
        ("of a service", of(&service.expect("a service"))),
    ]
});

/// All four, each with a name.
fn dockerfiles() -> impl Iterator<Item = (String, &'static str)> {
    DOCKERFILES.iter().flat_map(|(of, files)| {
        let named = move |(name, text)| (format!("{name} {of}"), String::as_str(text));
        NAMES.into_iter().zip(files).map(named)
    })
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// The part that makes the binary.
fn build_stages(dockerfile: &str) -> &str {
    let start = dockerfile.find("# hadolint's rules").expect("their start");
    let end = dockerfile
        .find("# --- From `FROM rust` to here")
        .expect("their end");
    &dockerfile[start..end]
}

#[test]
fn both_dockerfiles_make_the_binary_alike() {
    for (of, [slim, distroless]) in DOCKERFILES.iter() {
        assert_eq!(build_stages(slim), build_stages(distroless), "{of}");
    }
}

/// Its package and executable are known, and it has a health check.
#[test]
fn the_files_of_a_service_equal_those_for_any_project_except_for_its_names() {
    let [(_, any), (_, service)] = &*DOCKERFILES;
    for (any, service) in any.iter().zip(service) {
        let any: BTreeSet<&str> = any.lines().collect();
        let is_own = |line: &&str| !line.is_empty() && !any.contains(line);
        let own: Vec<&str> = service.lines().filter(is_own).collect();
        let [use_of, arguments, known @ .., "FROM runtime"] = &own[..] else {
            panic!("{own:?}");
        };
        assert!(use_of.starts_with("# An image with"), "{use_of}");
        assert!(
            arguments.starts_with("ARG PACKAGE=service BIN=service VARIANT="),
            "{arguments}"
        );
        assert_eq!(
            known,
            [
                "# may keep apt's lists; an argument may hold several words.",
                "# hadolint global ignore=DL3006,DL3008,DL3009,DL3045,SC2086",
                "ARG PACKAGE BIN FEATURES PROFILE=release",
                "ENV CHOICE=\"--profile=$PROFILE --package=$PACKAGE --bin=$BIN --features=$FEATURES\"",
                "RUN cargo chef cook --locked --offline $CHOICE || echo \"warning: no layer of dependencies\"; rm -r /build",
                "# VARIANT=cc: the executable uses the C library of the runtime image; static: it contains one.",
                "ENV LINKING=-Ctarget-feature=+crt-static",
                "# `cargo rustc` builds one executable, with flags for it alone; the project's `rustflags` hold too. REVISION: see main.rs.",
                "ARG BIN REVISION CREATED",
                "RUN cargo auditable rustc --locked --offline $CHOICE -- $LINKING || \\",
                "# The * is the profile's folder (that of `dev` is debug/).",
                "RUN install -D /target/*/$BIN /app/service",
                "# 9090: health checks, metrics and the admin page, for the cluster only.",
            ]
        );
    }
}

#[test]
fn nothing_is_pulled_but_the_base_images() {
    for (name, text) in dockerfiles() {
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
    for (name, text) in dockerfiles() {
        assert!(text.lines().count() <= 90, "{name} is too long");
        for instruction in instructions(text) {
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
    for (name, text) in dockerfiles() {
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
    for (name, text) in dockerfiles() {
        for line in text.lines().filter(|line| line.contains(':')) {
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
    for (name, text) in dockerfiles() {
        assert!(!text.contains("type=cache"), "{name}");
    }
}

/// Build scripts of dependencies run in every other step.
#[test]
fn only_the_steps_that_fetch_can_read_the_registrys_token() {
    for (name, text) in dockerfiles() {
        let with_token: Vec<String> = instructions(text)
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
                "cargo rustc",
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
fn hadolint_finds_nothing_in_the_dockerfiles() {
    for (name, text) in dockerfiles() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect(&name);
        passes("hadolint", &[&file.path().display().to_string()]);
    }
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
fn every_path_that_the_compose_file_mounts_exists() {
    let compose = read("docker-compose.yml");
    let sources = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ./"));
    for source in sources.filter_map(|mount| mount.split(':').next()) {
        assert!(root().join(source).exists(), "{source}");
    }
}
