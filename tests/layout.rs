//! The order of the modules: lower rows never import higher ones, and files of one row never import
//! each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest.
const ROWS: [&[&str]; 12] = [
    // `settings` is a crate of its own.
    &["settings"],
    &[
        "backoff", "boxed", "cgroup", "chunks", "platform", "trace", "error",
    ],
    &["record"],
    &["otlp", "problem", "threads"],
    &[
        "logs",
        "metrics",
        "health",
        "shutdown",
        "limits",
        "client_ip",
    ],
    &["background", "observer", "openapi", "upload"],
    &["shared"],
    &["server", "request", "admin"],
    &["chassis_settings"],
    &["cli"],
    &["service"],
    &["testing"],
];

/// The admin listener is a server.
const EXCEPTIONS: [(&str, &str); 1] = [("admin", "server")];

fn row(module: &str) -> usize {
    let row = ROWS.iter().position(|row| row.contains(&module));
    row.unwrap_or_else(|| panic!("`{module}` is in no row: add it to ROWS and to lib.rs"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn lower_rows_never_import_higher_ones() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in files(&source) {
        let name = file
            .strip_prefix(&source)
            .expect("below it")
            .components()
            .next()
            .expect("a name");
        let module = name.as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("text");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for used in line.split("crate::").skip(1) {
                let used: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let is_module = used.chars().next().is_some_and(char::is_lowercase);
                if !is_module || used == module || EXCEPTIONS.contains(&(&module, &used)) {
                    continue;
                }
                seen += 1;
                assert!(
                    row(&used) < row(&module),
                    "{}: {}",
                    file.display(),
                    line.trim()
                );
            }
        }
    }
    assert!(seen > 30, "only {seen} imports were found");
}

/// The code of a file before its tests, without comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("text");
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
}

/// The files of its folder that a file imports from.
fn siblings(file: &Path) -> Vec<PathBuf> {
    let code = code(file);
    let mut parts = code.split("super::");
    let mut before = parts.next().unwrap_or_default();
    let mut siblings = Vec::new();
    for part in parts {
        // `super::super::` is another folder's affair.
        let is_first = !before.is_empty();
        before = part;
        let end = match part.starts_with('{') {
            true => part.find(';'),
            false => part.find(|c: char| !c.is_alphanumeric() && c != '_'),
        };
        let names = part[..end.unwrap_or(part.len())]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .map(|name| file.with_file_name(format!("{name}.rs")));
        siblings.extend(names.filter(|name| is_first && name != file && name.exists()));
    }
    siblings
}

#[test]
fn files_of_one_folder_import_each_other_in_one_direction() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in files(&source) {
        let mut reached = siblings(&file);
        seen += reached.len();
        let mut at = 0;
        while let Some(next) = reached.get(at) {
            assert_ne!(*next, file, "a circle of imports");
            let further = siblings(next);
            let new = further.into_iter().filter(|file| !reached.contains(file));
            let new: Vec<_> = new.collect();
            reached.extend(new);
            at += 1;
        }
    }
    assert!(seen > 30, "only {seen} imports were found");
}

#[test]
fn files_stay_short() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&source) {
        let text = fs::read_to_string(&file).expect("text");
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        assert!(
            lines <= 420,
            "{} has {lines} lines before its tests",
            file.display()
        );
    }
}
/// Types that several modules have by design: each module's section of the settings, each subcommand's arguments.
const IN_MANY_MODULES: [&str; 2] = ["Settings", "Args"];

/// Crates whose types are compared.
const CRATES: [&str; 7] = [
    "src",
    "axum-chassis-redis/src",
    "axum-chassis-settings/src",
    "axum-chassis-sqlx/src",
    "cargo-chassis/src",
    "xtask/src",
    "examples/orders/src",
];

#[test]
fn a_name_is_one_type_within_a_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = BTreeMap::<(&str, String), BTreeSet<String>>::new();
    for folder in CRATES {
        for file in files(&root.join(folder)) {
            let text = fs::read_to_string(&file).expect("text");
            // Alternatives: one is compiled, and both have the same API.
            let is_alternative = file.ends_with("disabled.rs");
            let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|_| !is_alternative) {
                if let Some(name) = defined(line)
                    && !IN_MANY_MODULES.contains(&name)
                {
                    let places = seen.entry((folder, name.to_owned())).or_default();
                    places.insert(file.display().to_string());
                }
            }
        }
    }
    seen.retain(|_, places| places.len() > 1);
    assert!(seen.is_empty(), "{seen:#?}");
}

/// The type that a line begins to define.
fn defined(line: &str) -> Option<&str> {
    let mut words = line
        .split_whitespace()
        .filter(|word| !word.starts_with("pub"));
    let keyword = words.next()?;
    let name = words.next()?;
    let end = name
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(name.len());
    let is_type = ["struct", "enum", "trait", "union"].contains(&keyword);
    (is_type && end > 0).then_some(&name[..end])
}
