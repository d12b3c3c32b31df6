//! Projects to build: each shape, none of them on the chassis, and copies that a test may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{cargo, files, root, succeed};
use tempfile::TempDir;

use crate::docker::Build;

/// The main source of a shape and, where a choice is needed, the package.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    main: &'static str,
    package: Option<&'static str>,
    vendored: bool,
}

const fn shape(name: &'static str, main: &'static str) -> Shape {
    Shape {
        name,
        main,
        package: None,
        vendored: false,
    }
}

pub(crate) const SHAPES: [Shape; 6] = [
    shape("single-bin", "src/main.rs"),
    shape("lib-and-bin", "src/cli/main.rs"),
    Shape {
        package: Some("greeter"),
        ..shape("workspace", "greeter/src/main.rs")
    },
    shape("c-code", "src/main.rs"),
    VENDORED,
    PLAIN_AXUM,
];
pub(crate) const VENDORED: Shape = Shape {
    vendored: true,
    ..shape("vendored", "src/main.rs")
};
pub(crate) const PLAIN_AXUM: Shape = shape("plain-axum", "src/main.rs");

impl Shape {
    /// A copy of it, ready to be built.
    pub(crate) fn project(&self) -> TempDir {
        let folder = copy_of(self.name);
        if self.vendored {
            vendor(folder.path());
        }
        folder
    }

    pub(crate) fn build(&self, project: &Path, dockerfile: &str) -> Build {
        let build = build(project, dockerfile);
        if self.vendored {
            return build.option("--network=none").arg("AUDITABLE", "false");
        }
        match self.package {
            Some(package) => build.arg("PACKAGE", package),
            None => build,
        }
    }

    /// What it answers: the name of its binary.
    pub(crate) fn answer(&self) -> &'static str {
        self.package.unwrap_or(self.name)
    }

    /// Changes the sources and nothing else.
    pub(crate) fn change_a_line(&self, project: &Path) {
        edit(&project.join(self.main), "\n", "\n// Another line.\n");
    }

    /// Adds fastrand, which has no dependencies itself.
    pub(crate) fn add_a_dependency(&self, project: &Path) {
        let manifest = project
            .join(self.package.unwrap_or_default())
            .join("Cargo.toml");
        let section = "[dependencies]\n";
        edit(&manifest, section, &format!("{section}fastrand = \"2\"\n"));
        self.lock(project);
    }

    pub(crate) fn bump_the_version(&self, project: &Path) {
        let [from, to] = ["0.1.0", "0.1.1"].map(|version| format!("version = \"{version}\""));
        edit(&project.join("Cargo.toml"), &from, &to);
        self.lock(project);
    }

    fn lock(&self, project: &Path) {
        if self.vendored {
            vendor(project);
        } else {
            succeed(cargo(project).args(["update", "--quiet", "--workspace"]));
        }
    }
}

/// None of these can be asked for its health.
pub(crate) fn build(project: &Path, dockerfile: &str) -> Build {
    Build::of(project, dockerfile).arg("HEALTHCHECK", "none")
}

/// As docs/images.md says.
fn vendor(project: &Path) {
    let settings = succeed(cargo(project).arg("vendor")).stdout;
    fs::create_dir_all(project.join(".cargo")).expect("a folder");
    fs::write(project.join(".cargo/config.toml"), settings).expect("cargo's settings");
}

pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a text");
    assert!(text.contains(from), "{file:?} has no {from}");
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    root().join("tests/e2e/fixtures").join(name)
}

/// A copy of a fixture.
pub(crate) fn copy_of(shape: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&fixture(shape), folder.path());
    folder
}

/// Copies a folder, without what was built or checked out there.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from, &["target", ".git"]) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(file), target).expect("a copy");
    }
}
