//! Prose that readers understand at the first reading: the field's words, no phrase to stumble over, no stale version.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

/// Phrases that sound translated, and what to write instead.
const WORDS: [(&str, &str); 27] = [
    ("whoever", "name the person, or use \"the client\""),
    ("is no ", "is not a"),
    ("are no ", "are not"),
    ("is none", "is not a, or there is none"),
    ("are none", "are not"),
    ("says so", "name the message or the value"),
    (" tells ", "returns, logs, shows, contains"),
    (" bears ", "has, contains"),
    (" bearing ", "with"),
    ("is told", "receives, is notified of, is logged"),
    ("are told", "receive, are notified of, are logged"),
    ("was told", "received, was notified of"),
    ("is said", "is reported, is logged"),
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
    ("means for ever", "disables it"),
    ("nobody's", "not used, not owned"),
];

/// Idioms of plain English that contain one of these.
const EXCEPTIONS: [&str; 6] = [
    "there is no",
    "there are no",
    "is no longer",
    "are no longer",
    "is no more than",
    "is no less than",
];

/// Not checked: history, pages that quote other projects, and what is not this repository's.
const LEFT_OUT: [&str; 9] = [
    "CHANGELOG.md",
    "images.md",
    "maintained.md",
    "findings",
    "fixtures",
    "vendor",
    "target",
    "node_modules",
    "prose.rs",
];

/// Files and their lines of prose: documentation, comments, and messages.
fn prose() -> Vec<(String, Vec<(usize, String)>)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let is_hidden = name.starts_with('.') && name != ".github" && name != ".ci";
            if is_hidden || LEFT_OUT.contains(&&*name) {
                continue;
            } else if path.is_dir() {
                folders.push(path);
                continue;
            }
            let of_line: fn(&str) -> String = match path.extension().and_then(OsStr::to_str) {
                Some("md") => str::to_owned,
                Some("rs" | "rhai" | "js") => comment_and_messages,
                Some("yaml" | "yml" | "toml" | "liquid" | "sh") => str::to_owned,
                _ => continue,
            };
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let lines = text.lines().map(of_line).enumerate();
            let lines = lines.map(|(at, line)| (at + 1, line)).collect();
            found.push((path.display().to_string(), lines));
        }
    }
    found
}

/// The prose in a line of code: its comment, and string literals with several words.
fn comment_and_messages(line: &str) -> String {
    if let Some(comment) = line.trim_start().strip_prefix("//") {
        return comment.to_owned();
    }
    let mut prose: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    prose.retain(|text| text.split_whitespace().count() > 2);
    if let Some((_, comment)) = line.split_once(" // ") {
        prose.push(comment);
    }
    prose.join(" / ")
}

#[test]
fn prose_has_no_phrase_that_readers_stumble_over() {
    let mut found = Vec::new();
    for (file, lines) in prose() {
        for (number, line) in lines {
            let plain = EXCEPTIONS
                .iter()
                .fold(line.to_lowercase(), |line, phrase| line.replace(phrase, ""));
            for (phrase, instead) in WORDS.iter().filter(|word| plain.contains(word.0)) {
                found.push(format!("{file}:{number}: \"{phrase}\": {instead}: {line}"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_head_of_a_module_names_its_thing() {
    const RIDDLES: [&str; 9] = [
        "What ",
        "Whatever ",
        "Who ",
        "Whose ",
        "How ",
        "When ",
        "Where ",
        "Which ",
        "That ",
    ];
    let mut found = Vec::new();
    for (file, lines) in prose().iter().filter(|(file, _)| file.ends_with(".rs")) {
        let head = lines.first().map_or("", |(_, line)| line.as_str());
        let head = head.trim_start_matches(['!', ' ']);
        if RIDDLES.iter().any(|word| head.starts_with(word)) {
            found.push(format!("{file}: {head}"));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_comment_does_not_begin_with_a_question_word() {
    const QUESTIONS: [&str; 6] = ["What ", "Whatever ", "Which ", "Who ", "Whose ", "How "];
    let mut found = Vec::new();
    for (file, lines) in prose().iter().filter(|(file, _)| !file.ends_with(".md")) {
        for (number, line) in lines {
            let is_comment = line.starts_with(['/', '!', '#', ' ']);
            let comment = line.trim_start_matches(['/', '!', '#', ' ']);
            if is_comment && QUESTIONS.iter().any(|word| comment.starts_with(word)) {
                found.push(format!("{file}:{number}: {line}"));
            }
        }
    }
    assert!(found.is_empty(), "name the thing:\n{}", found.join("\n"));
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
    for (file, lines) in prose() {
        for (_, line) in lines {
            let named = line.starts_with("axum-chassis = { version");
            assert!(!named || line.starts_with(&current), "{file}: {line}");
        }
    }
}

/// Pages with a list that others link to, and words that occur together only in this list.
const LISTS: [(&str, &[&str]); 2] = [
    ("docs/errors.md", &["408", "504"]),
    ("docs/middleware.md", &["outer_layer", "Router::layer"]),
];

#[test]
fn outcomes_and_the_order_of_layers_are_listed_on_one_page() {
    for (page, words) in LISTS {
        let lists = |text: &str| words.iter().all(|word| text.contains(word));
        let pages = prose()
            .into_iter()
            .filter(|(file, _)| file.ends_with(".md"));
        let with_list = pages.filter(|(_, lines)| {
            let text: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
            // A setting's row has its own statuses.
            let blocks = text.split(|line| line.is_empty() || line.starts_with("| `"));
            blocks.into_iter().any(|block| lists(&block.join(" ")))
        });
        let with_list: Vec<_> = with_list.map(|(file, _)| file).collect();
        assert!(
            with_list.len() == 1 && with_list[0].ends_with(page),
            "{with_list:?}"
        );
    }
}

/// The rows of a Markdown table, as cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &str| {
        let inner = line.trim_matches('|').split(" | ");
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

#[test]
fn a_search_term_is_on_the_page_about_it() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let index = include_str!("../docs/README.md");
    let (mut terms, mut missing) = (0, Vec::new());
    for row in rows(index).iter().skip(1) {
        let [_, link, about] = &row[..] else {
            panic!("{row:?}")
        };
        let page = link.split_once("](").expect("a link").1;
        let page = page.trim_end_matches(')');
        if !page.ends_with(".md") {
            continue;
        }
        let text = fs::read_to_string(root.join("docs").join(page)).expect("a page");
        // A term may be broken at the end of a line.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for term in about.split([',', '(', ')']).map(str::trim) {
            terms += usize::from(!term.is_empty());
            if !text.to_lowercase().contains(&term.to_lowercase()) {
                missing.push(format!("{page}: {term}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
    assert!(terms > 30, "{terms} terms");
}

#[test]
fn the_readme_and_the_module_list_the_same_admin_routes() {
    let routes = |text: &str, prefix: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        let cells = lines.filter_map(|line| line.strip_prefix("| `/")?.split(" | ").next());
        let names = cells.flat_map(|cell| cell.split('`').filter(|part| !part.starts_with(',')));
        let names = names.map(|name| name.trim_start_matches('/').to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let readme = routes(include_str!("../README.md"), "");
    let module = routes(include_str!("../src/admin.rs"), "//! ");
    assert_eq!(readme, module);
    assert!(readme.contains("metrics"), "{readme:?}");
}
