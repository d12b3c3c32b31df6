//! Build caching: recompiled crates after a change, and the time.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use tempfile::TempDir;

use e2e::copy;

use crate::{
    docker::{Build, Image},
    generated::GENERATED,
    projects::{PLAIN_AXUM, SHAPES, Shape, VENDORED, VENDORED_ACTIX, WORKSPACE},
};

const OURS: &str = "Dockerfile.distroless";

type Change = fn(&Shape, &Path);
const CHANGES: [Change; 3] = [
    Shape::change_a_line,
    Shape::bump_the_version,
    Shape::add_a_dependency,
];

#[test]
#[ignore = "needs Docker"]
fn a_change_in_a_generated_service_compiles_what_it_touches_also_in_a_new_clone() {
    // Other tests build it with `release`.
    compiles_what_a_change_touches(&GENERATED, Build::unoptimized);
}

#[test]
#[ignore = "needs Docker"]
fn a_change_beside_other_packages_compiles_what_it_touches_also_in_a_new_clone() {
    for shape in [WORKSPACE, VENDORED] {
        compiles_what_a_change_touches(&shape, |build| build);
    }
}

pub(crate) fn compiles_what_a_change_touches(shape: &Shape, profile: fn(Build) -> Build) {
    let name = shape.name;
    let project = shape.project();
    let build = |project: &Path| profile(shape.build(project, OURS)).image();
    build(project.path());
    let clone = tempfile::tempdir().expect("a folder");
    copy(project.path(), clone.path());
    let touched = BTreeSet::from_iter(shape.members.iter().copied().chain([name]));

    shape.change_a_line(clone.path());
    shape.bump_the_version(clone.path());
    let image = build(clone.path());
    let compiled = image.compiled();
    assert!(
        compiled.contains(name) && compiled.is_subset(&touched),
        "{name}: {compiled:?}"
    );
    assert!(
        image.found("dependencies 3/3"),
        "{name}: the layer is found\n{}",
        image.log
    );
}

/// A project that changes.
struct Project<'a> {
    shape: &'a Shape,
    folder: TempDir,
}

impl<'a> Project<'a> {
    fn new(shape: &'a Shape) -> Self {
        Self {
            shape,
            folder: shape.project(),
        }
    }

    fn build(&self) -> Build {
        self.shape.build(self.folder.path(), OURS)
    }

    /// A row of a table: the cold build, tools included, and one after each change as a share of it.
    fn row(&self, name: &str) -> String {
        let seconds = |image: Image| image.took.as_secs_f64();
        let cold = seconds(self.build().option("--no-cache").image_alone());
        let mut row = format!("| {name} | {cold:.0} s |");
        for change in CHANGES {
            change(self.shape, self.folder.path());
            let took = seconds(self.build().image_alone());
            let share = 100.0 * took / cold;
            write!(row, " {took:.1} s ({share:.0} %) |").expect("a string");
        }
        row
    }
}

/// The table in docs/images.md. One build after the other, on a machine that does nothing else.
#[test]
#[ignore = "needs Docker and measures for ten minutes"]
fn measure_what_a_change_costs_in_each_shape() {
    println!("| | cold | a source line | a version | a new dependency |");
    println!("|---|---:|---:|---:|---:|");
    for shape in SHAPES.iter().chain([&VENDORED_ACTIX, &GENERATED]) {
        println!("{}", Project::new(shape).row(shape.name));
    }
}

/// The template's services have this setting, and most projects do not.
#[test]
#[ignore = "needs Docker and measures for two minutes"]
fn measure_what_fat_link_time_optimisation_costs() {
    let project = Project::new(&PLAIN_AXUM);
    let manifest = project.folder.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let text = text + "\n[profile.release]\nlto = \"fat\"\ncodegen-units = 1\n";
    fs::write(&manifest, text).expect("a manifest");
    println!("{}", project.row("plain-axum, fat LTO"));
}
