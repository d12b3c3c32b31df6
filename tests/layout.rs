//! The import rule of ARCHITECTURE.md for every crate of the workspace, the sizes of files and crates, and the Liquid tags
//! of the template.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module's path within its crate; empty for the root.
type Module = Vec<String>;

/// Pairs of modules of which the first uses the second, and a file in which it does.
type Imports = BTreeMap<(Module, Module), PathBuf>;

// === the rule ===

#[test]
fn modules_beside_each_other_use_each_other_in_one_direction() {
    let mut exceptions = exceptions();
    let mut circles = Vec::new();
    let mut seen = 0;
    for package in packages() {
        let mut imports = imports(&package.join("src"));
        seen += imports.len();
        exceptions.retain(|(from, to)| imports.remove(&(path(from), path(to))).is_none());
        for ((from, to), file) in &imports {
            if reaches(&imports, to, from) {
                circles.push(format!("{} uses {}", file.display(), to.join("::")));
            }
        }
    }
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
    assert!(exceptions.is_empty(), "unused exceptions: {exceptions:?}");
    assert!(seen > 150, "only {seen} imports were found");
}

#[test]
fn a_module_of_the_chassis_uses_modules_of_lower_rows() {
    let rows = rows();
    let row = |module: &str| {
        let row = rows
            .iter()
            .position(|row| row.iter().any(|name| name == module));
        row.unwrap_or_else(|| panic!("`{module}` is in no row of ARCHITECTURE.md"))
    };
    let exceptions = exceptions();
    for ((from, to), file) in imports(&root().join("src")) {
        if let ([from], [to]) = (&from[..], &to[..])
            && !exceptions.contains(&(from.clone(), to.clone()))
        {
            assert!(
                row(to) < row(from),
                "{} uses `{to}`, which is not in a lower row than `{from}`",
                file.display()
            );
        }
    }
}

/// The section of ARCHITECTURE.md about the rule.
fn section() -> &'static str {
    let page = include_str!("../ARCHITECTURE.md");
    let (_, section) = page
        .split_once("## The import rule")
        .expect("the section about imports");
    section.split("\n## ").next().expect("a section")
}

/// From the lowest.
fn rows() -> Vec<Vec<String>> {
    let lines = section().lines().filter(|line| line.starts_with("| `"));
    let rows = lines.map(|line| line.split('|').nth(1).expect("a cell"));
    rows.map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|names| names.map(str::to_owned).collect())
        .collect()
}

/// The pairs "`a` uses `b`".
fn exceptions() -> BTreeSet<(String, String)> {
    let parts: Vec<&str> = section().split('`').collect();
    let uses = parts.windows(3).filter(|parts| parts[1] == " uses ");
    uses.map(|parts| (parts[0].to_owned(), parts[2].to_owned()))
        .collect()
}

fn path(module: &str) -> Module {
    module.split("::").map(str::to_owned).collect()
}

fn reaches(imports: &Imports, from: &Module, to: &Module) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(next) = reached.get(at) {
        let further = imports.keys().filter(|(from, _)| from == *next);
        let new: Vec<&Module> = further
            .map(|(_, to)| to)
            .filter(|to| !reached.contains(to))
            .collect();
        reached.extend(new);
        at += 1;
    }
    reached.contains(&to)
}

// === packages and files ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders of this package and of every member of the workspace.
fn packages() -> Vec<PathBuf> {
    let manifest = include_str!("../Cargo.toml");
    let mut lines = manifest.lines();
    let members = lines.find(|line| line.starts_with("members = ["));
    let members = members.expect("a list").split('"').skip(1).step_by(2);
    members
        .map(|member| root().join(member))
        .chain([root().to_owned()])
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|_| panic!("{}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|name| name == "rs"))
        .collect()
}

/// The lines before the tests that are neither empty nor comments.
fn code(file: &Path) -> usize {
    let text = fs::read_to_string(file).expect("text");
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

// === imports ===

/// The imports between modules with the same parent. An import in a module below one counts as its own.
fn imports(source: &Path) -> Imports {
    let mut paths = BTreeMap::<Module, (PathBuf, Paths)>::new();
    for file in files(source) {
        let name = file.strip_prefix(source).expect("below it");
        let mut module: Module = name
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if module[0] == "bin" {
            continue; // a crate of its own
        }
        module.retain(|name| name != "lib" && name != "main");
        let text = fs::read_to_string(&file).expect("text");
        let tokens = TokenStream::from_str(&text).expect("Rust");
        let (_, found) = paths.entry(module).or_insert((file, Paths::default()));
        found.read(tokens);
    }
    let modules: BTreeSet<&Module> = paths.keys().collect();
    let mut reexports = BTreeMap::new();
    for (module, (_, found)) in &paths {
        for path in &found.imported {
            let target = resolve(&modules, &BTreeMap::new(), module, path);
            if let (Some(target), Some(name)) = (target, path.last()) {
                reexports.insert((module.clone(), name.clone()), target);
            }
        }
    }
    let mut imports = Imports::new();
    for (module, (file, found)) in &paths {
        for path in found.imported.iter().chain(&found.named) {
            let Some(target) = resolve(&modules, &reexports, module, path) else {
                continue;
            };
            let same = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let end = same.count() + 1;
            // None is added for a parent and its child: a parent uses its children, and has what they share.
            if let (Some(from), Some(to)) = (module.get(..end), target.get(..end)) {
                imports.insert((from.to_owned(), to.to_owned()), file.clone());
            }
        }
    }
    imports
}

/// The module that a path in `module` leads to, if it is one of this crate.
fn resolve(
    modules: &BTreeSet<&Module>,
    reexports: &BTreeMap<(Module, String), Module>,
    module: &Module,
    path: &[String],
) -> Option<Module> {
    let mut at = module.clone();
    let mut names = path.iter().peekable();
    match names.peek()?.as_str() {
        "crate" => at.clear(),
        "self" | "super" => {}
        child => {
            at.push(child.to_owned());
            let is_child = modules.contains(&at);
            at.pop();
            is_child.then_some(())?;
        }
    }
    for name in names {
        match name.as_str() {
            "crate" | "self" => continue,
            "super" => {
                at.pop();
                continue;
            }
            _ => at.push(name.clone()),
        }
        if !modules.contains(&at) {
            at.pop();
            match reexports.get(&(at.clone(), name.clone())) {
                Some(target) => at.clone_from(target),
                None => break,
            }
        }
    }
    Some(at)
}

/// The paths in a file, without its tests: those of `use`, and others that begin with `crate`, `self` or `super`.
#[derive(Default)]
struct Paths {
    imported: Vec<Module>,
    named: Vec<Module>,
}

impl Paths {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) {
                        at += 1;
                        if attribute.stream().to_string().replace(' ', "") == "cfg(test)" {
                            at += tokens[at..].iter().position(ends_an_item).unwrap_or(0);
                        }
                    }
                }
                TokenTree::Ident(word) if word == "use" => {
                    at += 1;
                    at += tree(&tokens[at..], &Module::new(), &mut self.imported);
                }
                TokenTree::Ident(word) if ["crate", "self", "super"].iter().any(|w| word == w) => {
                    at += tree(&tokens[at..], &Module::new(), &mut self.named);
                }
                _ => {}
            }
            at += 1;
        }
    }
}

fn ends_an_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    }
}

/// Adds the paths at the beginning of `tokens`, such as `a::{b, c::D}`, and returns how many tokens follow the first.
fn tree(tokens: &[TokenTree], above: &Module, found: &mut Vec<Module>) -> usize {
    let mut path = above.clone();
    let mut at = 0;
    let is_colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
                for part in tokens.split(is_comma).filter(|part| !part.is_empty()) {
                    tree(part, &path, found);
                }
                return at;
            }
            _ => break,
        }
        if !(is_colon(at + 1) && is_colon(at + 2)) {
            break;
        }
        at += 3;
    }
    found.push(path);
    at
}

#[test]
fn paths_in_groups_and_in_macros_are_seen_and_those_of_tests_are_not() {
    let source = "use crate::{a, b::{self, c::D}};\nuse super::e::F as G;\npub use h::I;\n\
        fn j() { format!(\"{}\", crate::k::l()); }\n#[cfg(test)]\nmod tests { use super::m; }\nuse self::n::*;";
    let mut paths = Paths::default();
    paths.read(TokenStream::from_str(source).expect("Rust"));
    let joined = |paths: &[Module]| -> Vec<String> { paths.iter().map(|p| p.join("::")).collect() };
    let imported = [
        "crate::a",
        "crate::b::self",
        "crate::b::c::D",
        "super::e::F",
        "h::I",
        "self::n",
    ];
    assert_eq!(joined(&paths.imported), imported);
    assert_eq!(joined(&paths.named), ["crate::k::l"]);
}

// === sizes ===

#[test]
fn files_stay_short() {
    for file in packages()
        .iter()
        .flat_map(|package| files(&package.join("src")))
    {
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

/// A reader gets through a crate in an afternoon. The chassis itself, in the root, takes longer.
/// `cargo update` raises a crate alone, so that a version with other hidden items would not compile.
#[test]
fn a_crate_with_items_that_are_hidden_in_its_documentation_is_required_in_one_version() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut checked = 0;
    for package in packages() {
        let hides = |file: &PathBuf| {
            let text = fs::read_to_string(file).expect("text");
            text.contains("#[doc(hidden)]")
        };
        if !files(&package.join("src")).iter().any(hides) {
            continue;
        }
        let name = package.file_name().expect("a name").display();
        let start = format!("{name} = {{ path = \"{name}\", version = \"=");
        assert!(
            manifest.lines().any(|line| line.starts_with(&start)),
            "{name} in [workspace.dependencies] of Cargo.toml: expected `version = \"=…\"`"
        );
        checked += 1;
    }
    assert!(checked > 0, "no crate with hidden items was found");
}

#[test]
fn crates_stay_small() {
    for package in packages() {
        let lines: usize = files(&package.join("src"))
            .iter()
            .map(|file| code(file))
            .sum();
        println!("{:5} {}", lines, package.display());
        let most = if package == root() { 8500 } else { 3500 };
        assert!(
            lines <= most,
            "{} has {lines} lines of code, more than {most}",
            package.display()
        );
    }
}

/// Types that several modules have by design: each module's section of the settings, each subcommand's arguments, the
/// state of a router.
const IN_MANY_MODULES: [&str; 3] = ["Settings", "Args", "App"];

#[test]
fn a_name_is_one_type_within_a_crate() {
    let mut seen = BTreeMap::<(PathBuf, String), BTreeSet<String>>::new();
    for package in packages() {
        for file in files(&package.join("src")) {
            let text = fs::read_to_string(&file).expect("text");
            // Alternatives: one is compiled, and both have the same API.
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let is_alternative = stem == "disabled" || stem.contains('.');
            let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|_| !is_alternative) {
                if let Some(name) = defined(line)
                    && !IN_MANY_MODULES.contains(&name)
                {
                    let places = seen.entry((package.clone(), name.to_owned())).or_default();
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

// === the template ===

/// Of the files that people edit: the hooks decide about files, and `cargo xtask sync` writes `*.rs.liquid`. The same
/// with a command: `grep -ro '{%' template --exclude-dir=hooks --exclude='*.rs.liquid' | wc -l`.
#[test]
fn the_rust_sources_of_the_template_have_no_liquid_tags_and_the_other_files_have_at_most_520() {
    let (mut rust, mut all) = (0, 0);
    let mut paths = vec![root().join("template")];
    while let Some(path) = paths.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "hooks" {
            let entries = fs::read_dir(&path).expect("a folder");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.is_file() && !name.ends_with(".rs.liquid") {
            let tags = fs::read_to_string(&path)
                .expect("text")
                .matches("{%")
                .count();
            rust += if name.ends_with(".rs") { tags } else { 0 };
            all += tags;
        }
    }
    assert_eq!(rust, 0, "Liquid tags in Rust files");
    assert!(all <= 520, "{all} Liquid tags in the template");
    let readme = fs::read_to_string(root().join("template/README.md")).expect("text");
    let (_, table) = readme
        .split_once("<!-- settings: begin -->")
        .expect("a table");
    assert!(
        table.trim_start().starts_with("{%"),
        "the template's own tests have written template/README.md: restore its table of settings"
    );
}
