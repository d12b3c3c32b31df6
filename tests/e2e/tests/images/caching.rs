//! How long a build takes again after a change.

use std::{fmt::Write as _, fs, process};

use e2e::{cargo, succeed};
use tempfile::TempDir;

use crate::{
    docker::{Build, Image},
    scratch::copy_of,
};

/// An axum service, and how it is built.
struct Project {
    folder: TempDir,
    dockerfile: &'static str,
    cache: String,
}

impl Project {
    fn new(dockerfile: &'static str) -> Self {
        let name = dockerfile.replace(['/', '.'], "-");
        let cache = format!("{name}-{}", process::id());
        Self {
            folder: copy_of("plain-axum"),
            dockerfile,
            cache,
        }
    }

    /// A build with only this project's caches.
    fn build(&self) -> Image {
        let build = Build::of(self.folder.path(), self.dockerfile).arg("HEALTHCHECK", "none");
        build.arg("CACHE_ID", &self.cache).image()
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

    fn cold_then_each_change(&self) -> [Image; 4] {
        let cold = self.build();
        let changes = [
            Self::change_a_line,
            Self::add_a_dependency,
            Self::bump_the_version,
        ];
        let [line, dependency, version] = changes.map(|change| {
            change(self);
            self.build()
        });
        [cold, line, dependency, version]
    }
}

/// What a clock would say depends on what else the machine does; this does not.
#[test]
#[ignore = "needs Docker"]
fn a_change_compiles_only_what_it_touches() {
    let [cold, line, dependency, version] =
        Project::new("Dockerfile.distroless").cold_then_each_change();
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

/// The table in docs/images.md. One row after the other, so it takes ten minutes on two processors.
#[test]
#[ignore = "needs Docker and measures for ten minutes"]
fn measure_what_each_way_to_cache_costs() {
    // The tools that some of them install, once, and the crates in the registry's cache mount.
    let ways = [
        ("cargo-chef", "tests/e2e/strategies/cargo-chef.Dockerfile"),
        (
            "cache mounts",
            "tests/e2e/strategies/cache-mounts.Dockerfile",
        ),
        ("both: ours", "Dockerfile.distroless"),
    ];
    let mut table = String::from(
        "| | cold | source line | new dependency | version bump |\n|---|---|---|---|---|\n",
    );
    for (name, dockerfile) in ways {
        Project {
            cache: "tools".to_owned(),
            ..Project::new(dockerfile)
        }
        .build();
        let times = Project::new(dockerfile).cold_then_each_change();
        let cells: Vec<_> = times
            .iter()
            .map(|image| format!("{:.1}", image.took.as_secs_f64()))
            .collect();
        writeln!(table, "| {name} | {} |", cells.join(" | ")).expect("a string");
    }
    println!("{table}");
}
