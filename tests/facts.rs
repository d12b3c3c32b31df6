//! Figures in documentation and comments, compared with their source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates of a service that uses the chassis with these features.
fn crates(features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--package", "axum-chassis"])
        .args(["--edges", "normal", "--prefix", "none", "--no-dedupe"])
        .args(["--format", "{p}", "--no-default-features"])
        .args(["--features", features])
        .output()
        .expect("cargo");
    let text = String::from_utf8(output.stdout).expect("text");
    let name = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    assert!(output.status.success() && !text.is_empty(), "{features}");
    text.lines().map(name).collect()
}

#[test]
fn features_add_as_many_crates_as_their_comments_state() {
    let manifest = include_str!("../Cargo.toml");
    let without = crates("");
    let mut stated = 0;
    let lines: Vec<&str> = manifest.lines().collect();
    for pair in lines.windows(2) {
        let Some((_, number)) = pair[0].split_once(". Adds ") else {
            continue;
        };
        let number: usize = number
            .trim_end_matches(" crates.")
            .parse()
            .expect("a number");
        let feature = pair[1].split(' ').next().expect("a feature");
        let added = crates(feature).difference(&without).count();
        assert_eq!(added, number, "feature {feature}");
        stated += 1;
    }
    assert_eq!(stated, 5);
}

#[test]
fn the_admin_page_has_as_many_lines_of_code_as_its_comment_states() {
    let manifest = include_str!("../Cargo.toml");
    let (_, stated) = manifest
        .split_once("its data at `/status`: ")
        .expect("the feature's comment");
    let stated = stated.split(' ').next().expect("a number").replace(',', "");
    let stated: usize = stated.parse().expect("a number");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
    let mut files = vec![page.join("enabled.rs")];
    let parts = fs::read_dir(page.join("enabled")).expect("a folder");
    files.extend(parts.map(|part| part.expect("a file").path()));
    let is_rust = |file: &&PathBuf| file.extension().is_some_and(|name| name == "rs");
    let code = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("text");
        let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
    };
    let lines: usize = files.iter().filter(is_rust).map(code).sum();
    assert!(lines.abs_diff(stated) < 50, "{lines}, stated are {stated}");
}

/// The defaults of the chassis's settings, from the table that `cargo xtask sync` writes.
fn defaults() -> BTreeMap<String, String> {
    let page = include_str!("../docs/settings.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| {
        let (key, rest) = row.split_once("` | `")?;
        let (default, _) = rest.split_once('`')?;
        key.contains('.')
            .then(|| (key.to_owned(), default.to_owned()))
    });
    cells.collect()
}

#[test]
fn a_default_in_parentheses_after_its_key_is_the_default() {
    let defaults = defaults();
    assert!(defaults.len() > 15, "{defaults:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("docs");
    let pages = pages.map(|page| page.expect("a page").path());
    let mut compared = 0;
    for page in pages
        .chain([root.join("README.md")])
        .filter(|path| path.is_file())
    {
        let Ok(text) = fs::read_to_string(&page) else {
            continue;
        };
        for (key, default) in &defaults {
            for rest in text.split(&format!("`{key}` (")).skip(1) {
                let value = rest.split([')', ';', ',']).next().unwrap_or_default();
                let value = value.trim_end_matches(" by default").replace(' ', "");
                if value.starts_with(|first: char| first.is_ascii_digit()) {
                    assert_eq!(value, *default, "{key} in {}", page.display());
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 5, "{compared}");
}

#[test]
fn the_benchmark_page_and_the_limit_of_ci_have_the_same_instructions() {
    let page = include_str!("../bench/README.md");
    let prefix = "| instructions a request, in user space |";
    let row = page.lines().find_map(|line| line.strip_prefix(prefix));
    let cells = row.expect("a row").split('|');
    let cells: Vec<f64> = cells
        .filter_map(|cell| cell.trim().replace(',', "").parse().ok())
        .collect();
    let [bare, _, chassis, _] = cells[..] else {
        panic!("{cells:?}");
    };
    let baseline = include_str!("../bench/baseline").trim();
    let baseline: f64 = baseline.parse().expect("a ratio");
    let difference = (chassis / bare / baseline - 1.0).abs();
    assert!(difference < 0.05, "{} and {baseline}", chassis / bare);
}

#[test]
fn files_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = include_str!("../ARCHITECTURE.md");
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let names: BTreeSet<&str> = page
        .split(|c| !is_part(c))
        .filter(|name| name.ends_with(".rs"))
        .collect();
    let is_missing = |name: &&str| {
        let folders = ["", "src", "examples", "axum-chassis-server/src"].iter();
        let mut places = folders.map(|folder| root.join(folder).join(name));
        !places.any(|place| place.exists())
    };
    let missing: Vec<_> = names.iter().copied().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(names.len() > 30, "{}", names.len());
}

#[test]
fn agents_md_names_commands_and_files_that_exist() {
    let page = include_str!("../AGENTS.md");
    assert!(page.lines().count() <= 60);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut parts: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    parts.retain(|part| part.contains(['/', '.']) && !part.contains([' ', '\n']));
    assert!(parts.len() > 20, "{parts:?}");
    for part in parts {
        assert!(root.join(part).exists(), "{part}");
    }

    let (_, commands) = page.split_once("```sh\n").expect("commands");
    let (commands, _) = commands.split_once("```").expect("their end");
    let contributing = include_str!("../CONTRIBUTING.md");
    for line in commands.lines() {
        let command = line.split("   ").next().unwrap_or_default();
        assert!(contributing.contains(command), "{command}");
    }
}
