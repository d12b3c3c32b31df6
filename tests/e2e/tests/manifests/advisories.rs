//! The workflow's nightly commands find an advisory for a dependency of any crate of this repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::{cargo, commit, git, root, run_lines, succeed};
use serde_json::Value;

/// The members of a workspace, and the crates from a registry that each of them names.
fn members(manifest: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut metadata = cargo(&root());
    metadata.args(["metadata", "--format-version=1", "--no-deps", "--locked"]);
    let metadata = succeed(metadata.arg("--manifest-path").arg(manifest)).stdout;
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let named = package["dependencies"].as_array().expect("dependencies");
            let named = named
                .iter()
                .filter(|dependency| !dependency["source"].is_null());
            (
                package["name"].to_string(),
                named
                    .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
                    .collect(),
            )
        })
        .collect()
}

/// A database of advisories, of which each names a crate. The real one is on GitHub.
fn plant(database: &Path, crates: &BTreeSet<String>) -> BTreeMap<String, String> {
    git(database, &["init", "--quiet", "--initial-branch=main"]);
    let mut planted = BTreeMap::new();
    for (number, name) in crates.iter().enumerate() {
        let id = format!("RUSTSEC-2020-{:04}", 9000 + number);
        let folder = database.join("crates").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let advisory = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2020-01-01\"\n\
             [versions]\npatched = []\n```\n\n# Made up\n\nFor a test.\n"
        );
        fs::write(folder.join(format!("{id}.md")), advisory).expect("an advisory");
        planted.insert(name.clone(), id);
    }
    commit(database, "advisories");
    planted
}

#[test]
#[ignore = "needs cargo-deny and git"]
fn an_advisory_for_a_dependency_of_any_crate_here_fails_the_nightly_job() {
    let [of_root, of_bench] =
        ["Cargo.toml", "bench/Cargo.toml"].map(|manifest| members(&root().join(manifest)));
    assert!(of_root.len() > 10 && !of_bench.is_empty());
    let scratch = tempfile::tempdir().expect("a folder");
    let database = scratch.path().join("database");
    fs::create_dir(&database).expect("a folder");
    let crates = of_root.values().chain(of_bench.values()).flatten();
    let planted = plant(&database, &crates.cloned().collect());

    // The rules of this repository, with that database in place of the real one. cargo-deny accepts no path as its
    // address, but lets git fetch it.
    const ADDRESS: &str = "https://advisories.invalid/database";
    let settings = fs::read_to_string(root().join("deny.toml")).expect("rules");
    let local = format!(
        "[advisories]\ndb-path = \"{}\"\ndb-urls = [\"{ADDRESS}\"]\ngit-fetch-with-cli = true\n",
        scratch.path().join("fetched").display()
    );
    let settings = settings.replacen("[advisories]\n", &local, 1);
    assert!(settings.contains(ADDRESS), "{settings}");
    let config = scratch.path().join("deny.toml");
    fs::write(&config, settings).expect("rules");

    let workflow = fs::read_to_string(root().join(".github/workflows/ci.yml")).expect("a workflow");
    let mut workspaces = [of_root, of_bench].into_iter();
    for line in run_lines(&workflow) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["cargo", "deny", arguments @ .., "advisories"] = &words[..] else {
            continue;
        };
        let mut deny = Command::new("cargo");
        deny.current_dir(root()).args(["deny", "--color=never"]);
        deny.arg("--config")
            .arg(&config)
            .args(arguments)
            .arg("advisories");
        deny.env("GIT_CONFIG_COUNT", "1");
        let instead = format!("url.file://{}.insteadOf", database.display());
        deny.env("GIT_CONFIG_KEY_0", instead)
            .env("GIT_CONFIG_VALUE_0", ADDRESS);
        let output = deny.output().expect("cargo-deny");
        let found = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{line}: {found}");
        for (member, crates) in workspaces.next().expect("a workspace") {
            let missed: Vec<&String> = crates
                .iter()
                .filter(|name| !found.contains(&planted[*name]))
                .collect();
            assert!(missed.is_empty(), "`{line}` misses {missed:?} of {member}");
        }
    }
    assert!(
        workspaces.next().is_none(),
        "a workspace that no command looks at"
    );
}
