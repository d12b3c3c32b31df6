//! How long a build takes again after a change.

use std::{fmt::Write as _, fs, process};

use e2e::{cargo, succeed};
use tempfile::TempDir;

use crate::{
    docker::{Build, Image},
    scratch::copy_of,
};

/// What the template's services have, and what most projects have not.
const FAT_LTO: &str = "\n[profile.release]\nlto = \"fat\"\ncodegen-units = 1\n";

/// A project that changes, and how it is built.
struct Project {
    folder: TempDir,
    dockerfile: &'static str,
    cache: String,
    /// A build argument, where it needs one.
    argument: Option<(&'static str, &'static str)>,
}

impl Project {
    /// An axum service.
    fn new(dockerfile: &'static str) -> Self {
        Self::of("plain-axum", dockerfile, None)
    }

    fn of(
        shape: &str,
        dockerfile: &'static str,
        argument: Option<(&'static str, &'static str)>,
    ) -> Self {
        let name = dockerfile.replace(['/', '.'], "-");
        Self {
            folder: copy_of(shape),
            dockerfile,
            cache: format!("{shape}-{name}-{}", process::id()),
            argument,
        }
    }

    /// A build with only this project's caches.
    fn build(&self) -> Build {
        let build = Build::of(self.folder.path(), self.dockerfile).arg("HEALTHCHECK", "none");
        let build = build.arg("CACHE_ID", &self.cache);
        match self.argument {
            Some((key, value)) => build.arg(key, value),
            None => build,
        }
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs::read_to_string(&path).expect(file);
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).expect(file);
    }

    fn cargo(&self, arguments: &[&str]) {
        succeed(cargo(self.folder.path()).args(arguments));
    }

    fn change_a_line(&self) {
        self.edit(
            "src/main.rs",
            r#"async || "plain-axum""#,
            r#"async || "changed""#,
        );
    }

    fn add_a_dependency(&self) {
        self.cargo(&["add", "--quiet", "fastrand@2"]);
        self.cargo(&["update", "--quiet", "--workspace"]);
    }

    fn bump_the_version(&self) {
        self.edit("Cargo.toml", r#"version = "0.1.0""#, r#"version = "0.1.1""#);
        self.cargo(&["update", "--quiet", "--workspace"]);
    }

    fn and_each_change(&self, cold: Build) -> [Image; 4] {
        let cold = cold.image();
        let changes = [
            Self::change_a_line,
            Self::add_a_dependency,
            Self::bump_the_version,
        ];
        let [line, dependency, version] = changes.map(|change| {
            change(self);
            self.build().image()
        });
        [cold, line, dependency, version]
    }
}

/// What a clock would say depends on what else the machine does; this does not.
#[test]
#[ignore = "needs Docker"]
fn a_change_compiles_only_what_it_touches() {
    let project = Project::new("Dockerfile.distroless");
    let [cold, line, dependency, version] = project.and_each_change(project.build());
    assert!(cold.compiled("tokio"), "a cold build is cold");
    for change in [&line, &dependency, &version] {
        assert!(change.compiled("plain-axum") && !change.compiled("tokio"));
    }
    assert!(dependency.compiled("fastrand") && !line.compiled("fastrand"));
    let [cold, line, dependency, version] =
        [cold, line, dependency, version].map(|image| image.took);
    println!(
        "cold {cold:.1?}, a line {line:.1?}, a dependency {dependency:.1?}, a version {version:.1?}"
    );
}

/// The table in README.md. One row after the other, so it takes ten minutes on two processors.
#[test]
#[ignore = "needs Docker and measures for ten minutes"]
fn measure_what_each_way_to_cache_costs() {
    const OURS: &str = "Dockerfile.distroless";
    let ways = [
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
    ];
    let mut table = String::from(
        "| | cold | source line | new dependency | version bump |\n|---|---:|---:|---:|---:|\n",
    );
    for (name, dockerfile, profile) in ways {
        let project = Project::new(dockerfile);
        let manifest = project.folder.path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        fs::write(manifest, text + profile).expect("a manifest");
        // As on a fresh machine: the tools that the files install for themselves are part of it.
        let cold = project.build().option("--no-cache");
        let times = project
            .and_each_change(cold)
            .map(|image| image.took.as_secs_f64());
        write!(table, "| {name} | {:.0} s |", times[0]).expect("a string");
        for time in &times[1..] {
            let share = 100.0 * time / times[0];
            write!(table, " {time:.1} s ({share:.0} %) |").expect("a string");
        }
        table.push('\n');
    }
    println!("{table}");
}

/// Of each shape, what is compiled again after a change, as a share of the cold build.
#[test]
#[ignore = "needs Docker and measures for five minutes"]
fn measure_what_a_change_costs_in_each_shape() {
    let package = Some(("PACKAGE", "greeter"));
    let bare = Some(("AUDITABLE", "false"));
    let mut table =
        String::from("| | cold | source line | new dependency |\n|---|---:|---:|---:|\n");
    for (shape, source, argument) in [
        ("single-bin", "src/main.rs", None),
        ("lib-and-bin", "src/cli/main.rs", None),
        ("workspace", "greeter/src/main.rs", package),
        ("c-code", "src/main.rs", None),
        ("vendored", "src/main.rs", bare),
        ("plain-axum", "src/main.rs", None),
    ] {
        let project = Project::of(shape, "Dockerfile.distroless", argument);
        let seconds = |build: Build| build.image().took.as_secs_f64();
        let cold = seconds(project.build().option("--no-cache"));
        project.edit(source, "\n", "\n// Another line.\n");
        let line = seconds(project.build());
        write!(
            table,
            "| {shape} | {cold:.0} s | {line:.1} s ({:.0} %) |",
            100.0 * line / cold
        )
        .expect("a string");
        // One that is vendored takes none from crates.io.
        if shape == "vendored" {
            table.push_str(" |\n");
            continue;
        }
        let manifest = argument.map_or("Cargo.toml".to_owned(), |(_, package)| {
            format!("{package}/Cargo.toml")
        });
        project.cargo(&["add", "--quiet", "--manifest-path", &manifest, "fastrand@2"]);
        project.cargo(&["update", "--quiet", "--workspace"]);
        let dependency = seconds(project.build());
        let share = 100.0 * dependency / cold;
        writeln!(table, " {dependency:.1} s ({share:.0} %) |").expect("a string");
    }
    println!("{table}");
}
