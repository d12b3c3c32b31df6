//! Options of a project in its image: compiler flags, the program to run, settings; and the error for a missing file.

use std::{fs, path::Path};

use tempfile::TempDir;

use e2e::{cargo, root, succeed};

use crate::{
    docker::Build,
    projects::{self, add_images},
    service::{CC, SLIM, STATIC},
};

/// A package with these files beside its manifest.
fn package(manifest: &str, files: &[(&str, &str)]) -> TempDir {
    let project = tempfile::tempdir().expect("a folder");
    let start = "[package]\nname = \"promises\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    for (path, text) in files
        .iter()
        .chain([&("Cargo.toml", &*format!("{start}{manifest}"))])
    {
        let path = project.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    fs::copy(
        root().join(".dockerignore"),
        project.path().join(".dockerignore"),
    )
    .expect("a file");
    succeed(cargo(project.path()).args(["generate-lockfile", "--quiet"]));
    project
}

fn prints(project: &Path, kind: &crate::service::Kind) -> String {
    let build = projects::build(project, kind.dockerfile);
    build.arg("VARIANT", kind.variant).image().prints()
}

#[test]
#[ignore = "needs Docker"]
fn flags_of_rustc_hold_in_every_variant() {
    let main =
        "fn main() { print!(\"{} {}\", cfg!(audited), cfg!(target_feature = \"crt-static\")); }";
    let check =
        "[lints.rust]\nunexpected_cfgs = { level = \"warn\", check-cfg = ['cfg(audited)'] }\n";
    let flags = "rustflags = [\"--cfg\", \"audited\"]\n";
    for table in [
        "build",
        "target.'cfg(unix)'",
        "target.x86_64-unknown-linux-gnu",
    ] {
        let settings = format!("[{table}]\n{flags}");
        let project = package(
            check,
            &[("src/main.rs", main), (".cargo/config.toml", &settings)],
        );
        let hold = || {
            for (kind, printed) in [
                (SLIM, "true false"),
                (CC, "true false"),
                (STATIC, "true true"),
            ] {
                assert_eq!(
                    prints(project.path(), &kind),
                    printed,
                    "{table}: {}",
                    kind.variant
                );
            }
        };
        hold();
        add_images(project.path());
        hold();
    }
}

#[test]
#[ignore = "needs Docker"]
fn the_program_is_the_one_that_cargo_would_run() {
    let files = [
        ("src/bin/server.rs", "fn main() { print!(\"server\"); }"),
        ("src/bin/seed.rs", "fn main() { print!(\"seed\"); }"),
    ];
    let project = package("default-run = \"server\"\n", &files);
    let runs = || {
        assert_eq!(prints(project.path(), &STATIC), "server");
        let named = projects::build(project.path(), "Dockerfile").arg("BIN", "seed");
        assert_eq!(named.image().prints(), "seed");
    };
    runs();
    add_images(project.path());
    runs();
}

#[test]
#[ignore = "needs Docker"]
fn a_file_may_be_included_and_the_error_for_an_ignored_one_names_the_ignore_file() {
    let main =
        |file: &str| format!("fn main() {{ print!(\"{{}}\", include_str!(\"../{file}\")); }}");
    let crd = "k8s/crd.yaml";
    let project = package("", &[("src/main.rs", &main(crd)), (crd, "a resource")]);
    assert_eq!(prints(project.path(), &STATIC), "a resource");

    let key = "keys/license_pub.key";
    let project = package("", &[("src/main.rs", &main(key)), (key, "a public key")]);
    let fails = || {
        let log = projects::build(project.path(), "Dockerfile").failure();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n");
        for line in [
            "couldn't read `src/../keys/license_pub.key`",
            "note: .dockerignore leaves out each file",
        ] {
            assert!(end.contains(line), "{log}");
        }
    };
    fails();
    add_images(project.path());
    fails();
}

/// Cargo finds it in the manifest; cargo-chef would put an empty program in its place.
#[test]
#[ignore = "needs Docker"]
fn a_program_that_the_ignore_file_leaves_out_is_an_error_not_an_empty_program() {
    let manifest = "[[bin]]\nname = \"promises\"\npath = \"app/main.rs\"\n";
    let project = package(
        manifest,
        &[("app/main.rs", "fn main() { print!(\"app\"); }")],
    );
    fs::write(project.path().join(".dockerignore"), "app\n").expect("a file");
    let log = projects::build(project.path(), "Dockerfile").failure();
    assert!(
        log.contains("note: .dockerignore leaves out each file"),
        "{log}"
    );
}

#[test]
#[ignore = "needs Docker"]
fn only_settings_of_every_environment_and_of_production_are_in_the_image() {
    let names = ["default", "dev", "local", "production", "staging"]
        .map(|name| format!("config/{name}.toml"));
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "a = 1\n")).collect();
    let main = "fn main() {\n\
        let mut names: Vec<_> = std::fs::read_dir(\"config\").unwrap().map(|file| file.unwrap().file_name()).collect();\n\
        names.sort();\n\
        print!(\"{} {names:?}\", std::env::var(\"RUN_ENV\").unwrap());\n}";
    files.push(("src/main.rs", main));
    let project = package("", &files);
    let printed = "production [\"default.toml\", \"production.toml\"]";
    let hold = || {
        for kind in [SLIM, STATIC] {
            assert_eq!(prints(project.path(), &kind), printed);
        }
    };
    hold();
    add_images(project.path());
    hold();
    let debug = Build::of(project.path(), "Dockerfile")
        .option("--target=debug")
        .image();
    assert!(
        debug
            .output("ls", &["config"])
            .starts_with("default.toml\nproduction.toml")
    );
}
