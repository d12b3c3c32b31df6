//! What the Dockerfiles themselves show, with no Docker.

use std::fs;

use crate::docker::repository;

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).expect(name)
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
