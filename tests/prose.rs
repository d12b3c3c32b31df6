//! Readers search for the field's words and read each sentence once: phrases and stale versions that tests can find.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

/// Phrases that sound translated, and what to write instead.
const WORDS: [(&str, &str); 17] = [
    ("whoever", "name the person, or use \"the client\""),
    ("is no ", "is not a"),
    ("is none of", "is not a"),
    ("are none of", "are not"),
    ("says so", "name the message or the value"),
    ("not to be had", "not available"),
    ("growing pauses", "exponential backoff"),
    ("told of the stop", "notified of shutdown"),
    ("to be meant", "to be valid"),
    ("cannot be meant", "is invalid"),
    ("costs memory for good", "is kept until the process ends"),
    ("orderly stop", "graceful shutdown"),
    ("one's own", "your own"),
    ("knows nothing of", "does not depend on"),
    ("what is wrong with", "errors in"),
    ("by its own words", "from its output"),
    ("for whom", "name the reader"),
];

/// Idioms of plain English that contain one of these.
const EXCEPTIONS: [&str; 3] = ["there is no ", "There is no ", "is no longer "];

/// Not checked: history, pages that quote other projects, and what is not this repository's.
const LEFT_OUT: [&str; 9] = [
    "CHANGELOG.md",
    "images.md",
    "maintained.md",
    "stores.md",
    "delivery.md",
    "migrations",
    "findings",
    "target",
    "node_modules",
];

/// Documentation, and the heads of Rust modules.
fn prose() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if name.starts_with('.') || LEFT_OUT.contains(&&*name) {
                continue;
            } else if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_head = |line: &&str| line.starts_with("//!");
            let read = || fs::read_to_string(&path).expect("text");
            let text = match path.extension().and_then(OsStr::to_str) {
                Some("md") => read(),
                Some("rs") => read()
                    .lines()
                    .filter(is_head)
                    .collect::<Vec<_>>()
                    .join("\n"),
                _ => continue,
            };
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[test]
fn documentation_has_no_phrase_that_readers_stumble_over() {
    let mut found = Vec::new();
    for (file, text) in prose() {
        for (number, line) in text.lines().enumerate() {
            let plain = EXCEPTIONS
                .iter()
                .fold(line.to_owned(), |line, phrase| line.replace(phrase, ""));
            for (phrase, instead) in WORDS.iter().filter(|word| plain.contains(word.0)) {
                found.push(format!("{file}:{}: \"{phrase}\": {instead}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_readme_can_be_read_in_one_sitting() {
    let readme = include_str!("../README.md");
    assert!(readme.lines().count() <= 150);
}

#[test]
fn snippets_name_the_version_of_this_workspace() {
    let version = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("a patch");
    let current = format!("axum-chassis = {{ version = \"{}\"", version.0);
    for (file, text) in prose() {
        for line in text.lines() {
            let named = line.starts_with("axum-chassis = { version");
            assert!(!named || line.starts_with(&current), "{file}: {line}");
        }
    }
}
