//! `cargo chassis` and cargo-generate render the same files from a template, of this checkout and of every release.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_chassis::archive::Archive;
use cargo_chassis::embedded::{self, VERSION};
use cargo_chassis::template::{Answers, Template};
use cargo_generate::{GenerateArgs, TemplatePath, Vcs};

/// The chassis's possible sources, with further answers.
const SOURCES: [&[(&str, &str)]; 4] = [
    &[("chassis", "vendored")],
    &[("chassis", "registry"), ("chassis-version", "7.8.9")],
    &[
        ("chassis", "git"),
        ("chassis-url", "https://git.example/chassis"),
    ],
    &[("chassis", "path"), ("chassis-path", r"..\..\axum-chassis")],
];

/// Values that are not asked for, and a description with characters that have a meaning in TOML, YAML or shell.
const OTHERS: [&[(&str, &str)]; 4] = [
    &[],
    &[("workspace", "member")],
    &[("on_chassis", "no"), ("added", "yes"), ("port", "3000")],
    &[("description", "Doesn't lose $notes: 100 % größer & <b>.")],
];

/// All combinations of the answers to the questions with choices, except for the chassis's source. From one combination
/// to the next, the source and the other values change too.
fn combinations(template: &Template) -> Vec<Answers> {
    let mut all = vec![Answers::new()];
    for (question, choices) in template.choices() {
        if question == "chassis" {
            continue;
        }
        let with = |one: &Answers| {
            let mut more = Vec::new();
            for choice in choices {
                let mut one = one.clone();
                one.insert(question.to_owned(), choice.clone());
                more.push(one);
            }
            more
        };
        all = all.iter().flat_map(with).collect();
    }
    for (at, one) in all.iter_mut().enumerate() {
        let mut source = SOURCES[at % SOURCES.len()];
        if !template.offers("chassis", source[0].1) {
            source = SOURCES[3];
        }
        for (name, value) in source
            .iter()
            .chain(OTHERS[at / SOURCES.len() % OTHERS.len()])
        {
            one.insert((*name).to_owned(), (*value).to_owned());
        }
    }
    all
}

/// A template, of which both programs can render services.
struct Both {
    template: Template,
    folder: tempfile::TempDir,
}

impl Both {
    fn of(version: &str) -> Self {
        let archive = embedded::release(version).expect("a release");
        let folder = tempfile::tempdir().expect("a folder");
        archive.unpack("template", folder.path()).expect("files");
        let template = Template::read(&archive).expect("a template");
        Self { template, folder }
    }

    fn are_alike(&self, name: &str, answers: &Answers) {
        let place = tempfile::tempdir().expect("a folder");
        let [ours, theirs] = ["ours", "theirs"].map(|name| {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            folder
        });
        let ours = self
            .template
            .render(&ours, name, answers)
            .expect("a service");
        generate(self.folder.path(), &theirs, name, answers);
        let [ours, theirs] = [ours, theirs.join(name)].map(|folder| {
            let mut files = Archive::default();
            files.add(&folder, "").expect("files");
            files
        });
        assert!(ours.paths().count() > 15);
        assert_eq!(
            ours.paths().collect::<Vec<_>>(),
            theirs.paths().collect::<Vec<_>>(),
            "{answers:?}"
        );
        for path in ours.paths() {
            let text = |files: &Archive| {
                String::from_utf8_lossy(files.get(&path.to_string_lossy()).expect("a file"))
                    .into_owned()
            };
            assert_eq!(
                text(&ours),
                text(&theirs),
                "{}: {answers:?}",
                path.display()
            );
        }
        assert!(ours == theirs, "a file's mode: {answers:?}");
    }
}

fn generate(template: &Path, into: &Path, name: &str, answers: &Answers) {
    try_generate(template, into, name, answers).expect("a service");
}

fn try_generate(
    template: &Path,
    into: &Path,
    name: &str,
    answers: &Answers,
) -> anyhow::Result<PathBuf> {
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(template.display().to_string()),
            ..TemplatePath::default()
        },
        name: Some(name.to_owned()),
        destination: Some(into.to_owned()),
        config: Some("/dev/null".into()),
        // Keeps the name as it is, as the tool does.
        force: true,
        silent: true,
        no_workspace: true,
        no_fmt: true,
        vcs: Some(Vcs::None),
        define: answers
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        ..GenerateArgs::default()
    })
}

/// A few combinations with every answer and source. The large steps mix the answers.
fn covering(all: &[Answers]) -> Vec<&Answers> {
    let mut seen = BTreeSet::new();
    let mut few = Vec::new();
    for step in 0..all.len() {
        let one = &all[step * 61 % all.len()];
        let before = seen.len();
        seen.extend(one);
        if seen.len() > before {
            few.push(one);
        }
    }
    few
}

#[test]
fn the_tool_renders_what_cargo_generate_renders() {
    let both = Both::of(VERSION);
    for answers in covering(&combinations(&both.template)) {
        both.are_alike("my_own-orders", answers);
    }
}

#[test]
fn the_tool_renders_the_template_of_every_release_as_cargo_generate_does() {
    for version in released() {
        let both = Both::of(&version);
        for answers in covering(&combinations(&both.template)) {
            both.are_alike("my_own-orders", answers);
        }
    }
}

/// Both have lists of names. They are compared by means of a template without files.
#[test]
fn the_tool_and_cargo_generate_reject_the_same_names_for_the_same_reasons() {
    let hook = include_str!("../../../../template/hooks/name.rhai");
    let list = include_str!("../../../../cargo-chassis/src/template/name.rs");
    let config = "[hooks]\ninit = [\"hooks/name.rhai\"]\npre = [\"hooks/name.rhai\"]\n";
    let mut archive = Archive::default();
    archive.insert("template/cargo-generate.toml", config.into());
    archive.insert("template/hooks/name.rhai", hook.into());
    archive.insert("template/hooks/rules.toml", Vec::new());
    let template = Template::read(&archive).expect("a template");
    let folder = tempfile::tempdir().expect("a folder");
    archive.unpack("template", folder.path()).expect("files");

    // Every word in quotation marks, of which few are not names.
    let words = [hook, list].into_iter().flat_map(|text| text.split('"'));
    let words = words.filter(|word| {
        word.chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '_')
    });
    let others = [
        "orders",
        "a",
        "a1",
        "a-_b",
        "a__b",
        "a-",
        "a_",
        "-a",
        "_a",
        "1a",
        "größe",
        "aß",
        "aB",
        "a.b",
        "com",
        "com1",
        "com10",
        "comx",
        "lpt9",
        "pro-c_macro",
        "proc-macro",
        "axum-chassis",
        "chassis",
        "orders-under-a-name-as-long-as-they-come",
        "orders-under-a-name-as-long-as-they-come1",
    ];
    let names: BTreeSet<&str> = words
        .chain(others)
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 90, "{names:?}");
    let mut rejected = 0;
    for name in names {
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let ours = template.render(ours.path(), name, &Answers::new());
        let theirs = try_generate(folder.path(), theirs.path(), name, &Answers::new());
        match (ours, theirs) {
            (Ok(_), Ok(_)) => {}
            (Err(ours), Err(theirs)) => {
                let (ours, theirs) = (format!("{ours:#}"), format!("{theirs:#}"));
                assert!(theirs.contains(&ours), "{name}: {ours} {theirs}");
                rejected += 1;
            }
            differ => panic!("{name}: {differ:?}"),
        }
    }
    assert!(rejected > 80, "{rejected}");
}

fn released() -> Vec<String> {
    let releases = include_bytes!("../../../../cargo-chassis/releases.tar.lz");
    embedded::versions(&embedded::read_releases(releases).expect("releases"))
}

/// Run by the nightly CI.
mod nightly {
    use super::{Both, VERSION, combinations, released};

    #[test]
    #[ignore = "takes minutes"]
    fn the_tool_renders_every_combination_of_answers_as_cargo_generate_does() {
        for version in [vec![VERSION.to_owned()], released()].concat() {
            let both = Both::of(&version);
            let all = combinations(&both.template);
            assert!(version != VERSION || all.len() >= 288, "{}", all.len());
            for answers in &all {
                both.are_alike("my_own-orders", answers);
            }
        }
    }
}
