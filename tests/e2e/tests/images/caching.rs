//! How long a build takes again after a change.

use std::{fmt::Write as _, fs, path::Path};

use tempfile::TempDir;

use crate::{
    docker::{Build, Image},
    projects::{PLAIN_AXUM, SHAPES, Shape, VENDORED},
};

const OURS: &str = "Dockerfile.distroless";
/// What the template's services have, and what most projects have not.
const FAT_LTO: &str = "\n[profile.release]\nlto = \"fat\"\ncodegen-units = 1\n";

/// A project that changes, with caches of its own.
struct Project {
    shape: Shape,
    folder: TempDir,
    dockerfile: &'static str,
    cache: String,
}

impl Project {
    fn new(shape: Shape, dockerfile: &'static str) -> Self {
        let folder = shape.project();
        let name = folder.path().file_name().expect("a name");
        let cache = name.to_string_lossy().into_owned();
        let project = Self {
            shape,
            folder,
            dockerfile,
            cache,
        };
        // Else the layers of an earlier run would be found.
        project.append_to_manifest(&format!("\n# {}\n", project.cache));
        project
    }

    fn append_to_manifest(&self, text: &str) {
        let manifest = self.folder.path().join("Cargo.toml");
        let before = fs::read_to_string(&manifest).expect("a manifest");
        fs::write(manifest, before + text).expect("a manifest");
    }

    fn build(&self) -> Build {
        let build = self.shape.build(self.folder.path(), self.dockerfile);
        build.arg("CACHE_ID", &self.cache)
    }

    /// As on a fresh machine: the tools that the files install for themselves are part of it.
    fn measured_cold(&self) -> Build {
        self.build().option("--no-cache")
    }

    /// The build `cold`, then one after each change.
    fn changes<const N: usize>(&self, cold: Build, changes: [Change; N]) -> (Image, [Image; N]) {
        let cold = cold.image();
        let changed = changes.map(|change| {
            change(&self.shape, self.folder.path());
            self.build().image()
        });
        (cold, changed)
    }
}

type Change = fn(&Shape, &Path);
const CHANGES: [Change; 3] = [
    Shape::change_a_line,
    Shape::add_a_dependency,
    Shape::bump_the_version,
];

/// A row of a table: the cold build, and each other as a share of it.
fn row(name: &str, cold: &Image, changed: &[Image]) -> String {
    let cold = cold.took.as_secs_f64();
    let mut row = format!("| {name} | {cold:.0} s |");
    for image in changed {
        let took = image.took.as_secs_f64();
        let share = 100.0 * took / cold;
        write!(row, " {took:.1} s ({share:.0} %) |").expect("a string");
    }
    row + "\n"
}

/// What a clock would say depends on what else the machine does; this does not.
#[test]
#[ignore = "needs Docker"]
fn a_change_compiles_only_what_it_touches() {
    for (shape, framework) in [(PLAIN_AXUM, "axum"), (VENDORED, "actix-web")] {
        let name = shape.name;
        let project = Project::new(shape, OURS);
        let (cold, [line, dependency, version]) = project.changes(project.build(), CHANGES);
        assert!(
            cold.compiled().any(|package| package == framework),
            "{name}"
        );
        for (change, wanted) in [
            (line, vec![name]),
            (dependency, vec!["fastrand", name, name]),
            (version, vec![name]),
        ] {
            assert_eq!(change.compiled().collect::<Vec<_>>(), wanted);
        }
    }
}

/// The table in README.md. One row after the other, so it takes ten minutes on two processors.
#[test]
#[ignore = "needs Docker and measures for ten minutes"]
fn measure_what_each_way_to_cache_costs() {
    let mut table = String::from(
        "| | cold | source line | new dependency | version bump |\n|---|---:|---:|---:|---:|\n",
    );
    for (name, dockerfile, profile) in [
        (
            "cargo-chef: a layer",
            "tests/e2e/strategies/cargo-chef.Dockerfile",
            "",
        ),
        (
            "cache mounts",
            "tests/e2e/strategies/cache-mounts.Dockerfile",
            "",
        ),
        ("both: these files", OURS, ""),
        ("these files, fat LTO", OURS, FAT_LTO),
    ] {
        let project = Project::new(PLAIN_AXUM, dockerfile);
        project.append_to_manifest(profile);
        let (cold, changed) = project.changes(project.measured_cold(), CHANGES);
        table += &row(name, &cold, &changed);
    }
    println!("{table}");
}

/// The table in docs/images.md.
#[test]
#[ignore = "needs Docker and measures for five minutes"]
fn measure_what_a_change_costs_in_each_shape() {
    let mut table =
        String::from("| | cold | source line | new dependency |\n|---|---:|---:|---:|\n");
    for shape in SHAPES {
        let project = Project::new(shape, OURS);
        let changes = [Shape::change_a_line, Shape::add_a_dependency];
        let (cold, changed) = project.changes(project.measured_cold(), changes);
        table += &row(project.shape.name, &cold, &changed);
    }
    println!("{table}");
}
