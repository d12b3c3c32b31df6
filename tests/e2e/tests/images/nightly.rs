//! Nightly tests, which `.ci/run` skips: images that compile a hundred crates once more, or cargo-audit.

use std::fs;

use e2e::root;

use crate::{
    caching::compiles_what_a_change_touches,
    contents,
    docker::Build,
    projects::{SHAPES, VENDORED_ACTIX, copy_of},
    service::{CC, STATIC, starts_and_shuts_down},
    shapes::serves_from,
};

mod git;
mod podman;
mod published;

/// As README says, word for word.
#[test]
#[ignore = "needs Docker"]
fn the_example_has_an_image_by_the_command_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let words = readme.split('`').find_map(|text| {
        let words = text.strip_prefix("docker build -f Dockerfile.distroless ")?;
        words.strip_suffix(" .")
    });
    let words = words.expect("a command for this folder");
    let image = words
        .split_whitespace()
        .fold(Build::of(root(), "Dockerfile.distroless"), Build::option)
        .arg("REVISION", "1234567")
        .image();
    STATIC.is_not_exceeded_by(&image);
    starts_and_shuts_down(&image);
}

#[test]
#[ignore = "needs Docker"]
fn each_shape_is_linked_with_a_c_library() {
    for shape in SHAPES.iter().chain([&VENDORED_ACTIX]) {
        serves_from(shape, &CC);
    }
}

#[test]
#[ignore = "needs Docker"]
fn the_largest_shape_serves_from_a_small_image() {
    serves_from(&VENDORED_ACTIX, &STATIC);
}

#[test]
#[ignore = "needs Docker"]
fn a_change_in_each_shape_compiles_what_it_touches_also_in_a_new_clone() {
    let shapes = SHAPES.iter().filter(|shape| shape.has_layer);
    for shape in shapes.chain([&VENDORED_ACTIX]) {
        compiles_what_a_change_touches(shape, |build| build);
    }
}

#[test]
#[ignore = "needs Docker"]
fn two_branches_built_at_once_each_have_their_own_code_five_times() {
    contents::five_times();
}

/// The advisory is made up, and the database a folder: the real one is on GitHub.
#[test]
#[ignore = "needs Docker"]
fn the_audit_stage_fails_on_a_crate_that_an_advisory_names() {
    const ADVISORY: &str = "```toml
[advisory]
id = \"RUSTSEC-2020-9999\"
package = \"tokio\"
date = \"2020-01-01\"
[versions]
patched = []
```

# Made up
";
    const SETTINGS: &str = "[database]\npath = \"advisories\"\nfetch = false\nstale = false\n";
    const IGNORED: &str = "[advisories]\nignore = [\"RUSTSEC-2020-9999\"]\n";
    let project = copy_of("plain-axum");
    let advisories = project.path().join("advisories/crates/tokio");
    fs::create_dir_all(&advisories).expect("a folder");
    fs::write(advisories.join("RUSTSEC-2020-9999.md"), ADVISORY).expect("an advisory");
    fs::create_dir(project.path().join(".cargo")).expect("a folder");
    let audit = |settings: &str| {
        fs::write(project.path().join(".cargo/audit.toml"), settings).expect("settings");
        Build::of(project.path(), "Dockerfile").option("--target=audit")
    };
    let log = audit(SETTINGS).failure();
    assert!(log.contains("RUSTSEC-2020-9999"), "{log}");
    audit(&format!("{SETTINGS}{IGNORED}")).image();
}
