//! Projects to build: each shape, and copies that a test may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{cargo, chassis, copy, edit, root, said, succeed};
use tempfile::TempDir;

use crate::docker::Build;

/// A kind of project, and where in it a change is made.
pub(crate) struct Shape {
    /// Of the binary.
    pub(crate) name: &'static str,
    /// The folder of the package that has the binary.
    package: &'static str,
    main: &'static str,
    /// The other members of its workspace, which are not in the layer of dependencies.
    pub(crate) members: &'static [&'static str],
    /// A package in vendor/, not of the workspace: compiled with the dependencies.
    pub(crate) beside: Option<&'static str>,
    /// Are all packages in the workspace or in vendor/? Otherwise there is no layer of dependencies.
    pub(crate) has_layer: bool,
    /// Where a choice is needed.
    arguments: &'static [(&'static str, &'static str)],
    make: fn() -> TempDir,
}

impl Shape {
    pub(crate) const fn of_one_package(name: &'static str, make: fn() -> TempDir) -> Self {
        Self {
            name,
            package: "",
            main: "src/main.rs",
            members: &[],
            beside: None,
            has_layer: true,
            arguments: &[],
            make,
        }
    }

    pub(crate) const fn beside(mut self, package: &'static str) -> Self {
        self.beside = Some(package);
        self
    }
}

pub(crate) const WORKSPACE: Shape = Shape {
    package: "greeter",
    members: &["answers"],
    arguments: &[("PACKAGE", "greeter")],
    ..Shape::of_one_package("greeter", || copy_of("workspace"))
};
pub(crate) const PLAIN_AXUM: Shape = Shape::of_one_package("plain-axum", || copy_of("plain-axum"));
pub(crate) const VENDORED: Shape = Shape::of_one_package("single-bin", || vendored("single-bin"));
/// The one with the most crates: for the night.
pub(crate) const VENDORED_ACTIX: Shape = Shape::of_one_package("vendored", || vendored("vendored"));
pub(crate) const C_CODE: Shape = Shape {
    has_layer: false,
    ..Shape::of_one_package("c-code", || copy_of("c-code"))
};

/// None of these is on the chassis.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape::of_one_package("single-bin", || copy_of("single-bin")),
    Shape {
        main: "src/cli/main.rs",
        ..Shape::of_one_package("lib-and-bin", || copy_of("lib-and-bin"))
    },
    WORKSPACE,
    Shape {
        package: "greeter",
        members: &["answers"],
        ..Shape::of_one_package("inheriting", || copy_of("inheriting"))
    },
    C_CODE,
    PLAIN_AXUM,
];

impl Shape {
    /// A copy of it, ready to be built.
    pub(crate) fn project(&self) -> TempDir {
        (self.make)()
    }

    pub(crate) fn build(&self, project: &Path, dockerfile: &str) -> Build {
        self.arguments
            .iter()
            .fold(build(project, dockerfile), |build, (key, value)| {
                build.arg(key, value)
            })
    }

    /// Changes the sources and nothing else, to what no run of the tests had before.
    pub(crate) fn change_a_line(&self, project: &Path) {
        let main = project.join(self.package).join(self.main);
        edit(&main, "\n", &format!("\n// In {project:?}.\n"));
    }

    /// Adds fastrand, which has no dependencies itself.
    pub(crate) fn add_a_dependency(&self, project: &Path) {
        let manifest = project.join(self.package).join("Cargo.toml");
        let section = "[dependencies]\n";
        edit(&manifest, section, &format!("{section}fastrand = \"2\"\n"));
        lock(project);
    }

    pub(crate) fn bump_the_version(&self, project: &Path) {
        let [from, to] = ["0.1.0", "0.1.1"].map(|version| format!("version = \"{version}\""));
        edit(&project.join("Cargo.toml"), &from, &to);
        lock(project);
    }
}

fn lock(project: &Path) {
    let settings = fs::read_to_string(project.join(".cargo/config.toml"));
    if settings.is_ok_and(|settings| settings.contains("vendored-sources")) {
        vendor(project);
    } else {
        succeed(cargo(project).args(["update", "--quiet", "--workspace"]));
    }
}

/// With the project's own Dockerfile, or with this repository's. None of these programs has a health check.
pub(crate) fn build(project: &Path, dockerfile: &str) -> Build {
    Build::of(project, dockerfile).arg("HEALTHCHECK", "none")
}

/// A copy of a fixture, whose crates lie beside it.
fn vendored(name: &str) -> TempDir {
    let project = copy_of(name);
    vendor(project.path());
    project
}

/// As docs/images.md says.
fn vendor(project: &Path) {
    let settings = succeed(cargo(project).arg("vendor")).stdout;
    fs::create_dir_all(project.join(".cargo")).expect("a folder");
    fs::write(project.join(".cargo/config.toml"), settings).expect("cargo's settings");
}

/// Adds the Dockerfiles that `cargo chassis add images` writes for a project.
pub(crate) fn add_images(project: &Path) {
    said(chassis(project).args(["add", "images"]), 0);
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    root().join("tests/e2e/fixtures").join(name)
}

/// A copy of a fixture.
pub(crate) fn copy_of(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&fixture(name), folder.path());
    folder
}
