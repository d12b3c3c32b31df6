//! The grammar of names: how a variable, a secret file or a flag names a key.
//!
//! | written as | names |
//! |---|---|
//! | `APP__SERVER__PORT` | `server.port` |
//! | `--set server.port=80` | `server.port` |
//! | secret file `database.url`, `database__url`, `database/url` | `database.url` |
//! | `PORT`, secret file `port` | `server.port` |
//! | `DATABASE_URL`, secret file `database-url` | `database.url` |
//!
//! Case does not matter in variables and secret files, nor does `-` or `_`.

use super::shape::{Kind, Shape};
use super::tree::{Origin, dotted};

/// What a variable that is a setting begins with.
pub(super) const PREFIX: &str = "APP__";

/// Variables that platforms set, and the keys they stand for.
pub(super) const PLAIN: [(&str, [&str; 2]); 5] = [
    ("PORT", ["server", "port"]),
    ("RUST_LOG", ["logs", "filter"]),
    ("LOG_FORMAT", ["logs", "format"]),
    ("DATABASE_URL", ["database", "url"]),
    ("REDIS_URL", ["redis", "url"]),
];

/// All the keys there are.
pub(super) struct Catalog {
    pub(super) shape: Shape,
    known: Vec<Vec<String>>,
}

impl Catalog {
    pub(super) fn new(shape: Shape) -> Self {
        let known = shape.paths();
        Self { shape, known }
    }

    /// The key that a path means, spelt as the structs spell it; `Err` is the path in lower case.
    pub(super) fn resolve(&self, segments: &[String]) -> Result<Vec<String>, Vec<String>> {
        let mut shape = &self.shape;
        let mut path = Vec::new();
        for segment in segments {
            let unknown = || {
                segments
                    .iter()
                    .map(|segment| segment.to_lowercase())
                    .collect()
            };
            let Kind::Table(table) = &shape.kind else {
                return Err(unknown());
            };
            let known = table.keys.get_key_value(segment).or_else(|| {
                let mut keys = table.keys.iter();
                keys.find(|(key, _)| plain_form(key) == plain_form(segment))
            });
            match (known, &table.rest) {
                (Some((key, inner)), _) => {
                    path.push(key.clone());
                    shape = inner;
                }
                (None, Some(rest)) if !segment.is_empty() => {
                    path.push(segment.to_lowercase());
                    shape = rest;
                }
                (None, _) => return Err(unknown()),
            }
        }
        Ok(path)
    }

    /// The known key that looks most like an unknown one, if any does.
    pub(super) fn nearest(&self, path: &[String]) -> Option<String> {
        let wrong = dotted(path);
        let flat = |text: &str| text.to_lowercase().replace(['.', '-'], "_");
        let wrong_flat = flat(&wrong);
        let last = path.last()?;
        let score = |known: &Vec<String>| {
            let spelt = distance(&wrong_flat, &flat(&dotted(known)));
            // `port` at the top level probably means `server.port`.
            let nested = path.len() < known.len() && known.last() == Some(last);
            let allowed = (wrong_flat.chars().count() / 3).clamp(1, 4);
            if spelt <= allowed {
                Some(spelt)
            } else {
                nested.then_some(allowed + 1)
            }
        };
        let scored = self
            .known
            .iter()
            .filter_map(|known| Some((score(known)?, known)));
        scored
            .min_by_key(|(score, known)| (*score, known.len().abs_diff(path.len())))
            .map(|(_, known)| dotted(known))
    }
}

fn plain_form(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

/// The key of a plain variable or of a secret file with such a name.
pub(super) fn plain(name: &str) -> Option<[&'static str; 2]> {
    let name = plain_form(name);
    PLAIN
        .iter()
        .find(|(plain, _)| plain.eq_ignore_ascii_case(&name))
        .map(|(_, path)| *path)
}

/// The path in a variable's name, if it is one of ours.
pub(super) fn variable(name: &str) -> Option<Vec<String>> {
    let prefix = name.get(..PREFIX.len())?;
    let rest = prefix
        .eq_ignore_ascii_case(PREFIX)
        .then(|| &name[PREFIX.len()..])?;
    Some(rest.split("__").map(str::to_owned).collect())
}

/// The path in a secret file's name; folders are levels.
pub(super) fn secret_file(name: &str) -> Vec<String> {
    if let Some(path) = plain(name) {
        return path.map(str::to_owned).to_vec();
    }
    let name = variable(name).map_or_else(|| name.to_owned(), |path| path.join("."));
    name.replace("__", ".")
        .split(['.', '/'])
        .map(str::to_owned)
        .collect()
}

/// The variable that sets a key, for hints.
pub(super) fn variable_for(path: &[String]) -> String {
    let path: Vec<String> = path
        .iter()
        .map(|key| plain_form(key).to_uppercase())
        .collect();
    format!("{PREFIX}{}", path.join("__"))
}

/// Edits between two names, a swap of neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut best = (above[j] + 1)
                .min(row[j - 1] + 1)
                .min(above[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// A variable or flag that cannot be read at all still has a name to report.
pub(super) fn printable(name: &std::ffi::OsStr) -> Origin {
    Origin::Variable(name.to_string_lossy().escape_debug().to_string())
}
