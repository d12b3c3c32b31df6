//! The name of a project.

use anyhow::bail;

use super::Answers;

/// Keywords of Rust, also reserved ones.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The dependencies of a service.
const DEPENDENCIES: [&str; 16] = [
    "anyhow",
    "axum",
    "axum_chassis",
    "axum_chassis_auth",
    "axum_chassis_otlp",
    "axum_chassis_redis",
    "axum_chassis_sqlx",
    "axum_chassis_testing",
    "http_body_util",
    "serde",
    "serde_json",
    "sqlx",
    "tempfile",
    "tokio",
    "tower",
    "tracing",
];

/// Rejects names that Cargo, Rust or Kubernetes would reject later with a less clear error, as
/// `template/hooks/name.rhai` does for cargo-generate.
pub(super) fn check(name: &str) -> anyhow::Result<()> {
    let crate_name = crate_name(name);
    let crate_name = crate_name.as_str();
    let is_part = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_');
    let reason = if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        "it has to start with a letter from a to z"
    } else if !name.ends_with(|last| matches!(last, 'a'..='z' | '0'..='9')) {
        "it has to end with a letter or a digit"
    } else if name.chars().count() > 40 {
        "it is longer than 40 characters, and names in Kubernetes, made from it, end at 63"
    } else if KEYWORDS.contains(&crate_name) {
        "it is a keyword of Rust"
    } else if ["alloc", "core", "proc_macro", "std", "test"].contains(&crate_name) {
        "a crate of Rust's own has this name"
    } else if ["build", "deps", "examples", "incremental"].contains(&crate_name) {
        "Cargo keeps a folder of this name beside the binary"
    } else if is_device(crate_name) {
        "Windows keeps this name to itself"
    } else if DEPENDENCIES.contains(&crate_name) {
        "the service depends on a crate of this name"
    } else if !name.chars().all(is_part) {
        "it may consist of the letters a to z, digits, hyphens and underscores"
    } else {
        return Ok(());
    };
    bail!("\"{name}\" cannot be the name of a service: {reason}.");
}

/// Whether Windows has a device of this name.
fn is_device(name: &str) -> bool {
    let numbered = ["com", "lpt"]
        .iter()
        .find_map(|kind| name.strip_prefix(kind));
    let is_numbered =
        numbered.is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit());
    is_numbered || ["aux", "con", "nul", "prn"].contains(&name)
}

/// The names of the package, of its crate, and in Kubernetes, where a name has no underscores.
pub(super) fn add_to(values: &mut Answers, name: &str) {
    for (key, value) in [
        ("package", name.to_owned()),
        ("crate_name", crate_name(name)),
        ("project-name", name.replace('_', "-")),
    ] {
        values.insert(key.to_owned(), value);
    }
}

fn crate_name(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}
