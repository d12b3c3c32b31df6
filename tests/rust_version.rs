//! The Rust that a manifest promises is enough for what it depends on. An older compiler than the one at hand cannot be
//! tried here; what each dependency declares can be read.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The output of cargo in this checkout.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(arguments)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// 1.94.1 as 1, 94: what compiles does not change with a patch release.
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split('.')
        .map(|number| number.parse().expect("a number"));
    (
        numbers.next().expect("a major"),
        numbers.next().expect("a minor"),
    )
}

#[test]
fn no_dependency_requires_a_newer_rust_than_its_package() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--locked", "--format-version=1"]))
            .expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let declared: HashMap<String, &str> = packages
        .filter_map(|package| {
            let text = |key: &str| package[key].as_str();
            let name = format!("{} v{}", text("name")?, text("version")?);
            Some((name, text("rust_version")?))
        })
        .collect();
    for package in [
        "axum-chassis",
        "axum-chassis-auth",
        "axum-chassis-logs",
        "axum-chassis-otlp",
        "axum-chassis-redis",
        "axum-chassis-server",
        "axum-chassis-settings",
        "axum-chassis-sqlx",
        "axum-chassis-testing",
        "cargo-chassis",
    ] {
        let flags = [
            "tree",
            "--locked",
            "--all-features",
            "--edges=normal,build",
            "--prefix=none",
            "--format={p}",
        ];
        let tree = cargo(&[&flags[..], &["--package", package]].concat());
        let name = |line: &str| {
            line.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mut names = tree.lines().filter(|line| !line.is_empty()).map(name);
        let own = names.next().expect("the package itself");
        let promised = declared.get(&own).expect("a rust-version");
        let mut seen = 0;
        for dependency in names {
            seen += 1;
            if let Some(needed) = declared.get(&dependency) {
                assert!(
                    release(needed) <= release(promised),
                    "{package} promises Rust {promised}, and {dependency} declares {needed}"
                );
            }
        }
        assert!(seen > 50, "{package}: {tree}");
    }
}
