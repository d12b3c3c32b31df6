//! Parses names: how an environment variable, a secret file or a flag names a key.
//!
//! | written as | names |
//! |---|---|
//! | `APP__SERVER__PORT` | `server.port` |
//! | `--set server.port=80` | `server.port` |
//! | secret file `database.url`, `database__url`, `database/url` | `database.url` |
//! | `PORT`, secret file `port` | `server.port` |
//! | `DATABASE_URL`, secret file `database-url` | `database.url` |
//!
//! Case, `-` and `_` do not matter in a key of the structs. A key of a map is used as written; in an environment variable it
//! becomes lower case.

use crate::shape::Shape;

/// The prefix of environment variables that are settings.
const PREFIX: &str = "APP__";
/// A misspelled prefix. Kubernetes' service links have it too, but without `__`.
const NEAR_PREFIX: &str = "APP_";

/// Variables that platforms set, and the keys they stand for.
pub(crate) const PLAIN: [(&str, [&str; 2]); 5] = [
    ("PORT", ["server", "port"]),
    ("RUST_LOG", ["logs", "filter"]),
    ("LOG_FORMAT", ["logs", "format"]),
    ("DATABASE_URL", ["database", "url"]),
    ("REDIS_URL", ["redis", "url"]),
];

impl Shape {
    /// The key for these segments, in the spelling of the structs, and its shape. `Err` is the path of an unknown key: known
    /// segments in that spelling, the others as written.
    pub(crate) fn resolve(
        &self,
        segments: &[String],
    ) -> Result<(Vec<String>, &Shape), Vec<String>> {
        let mut shape = self;
        let mut path = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let step = shape.table().and_then(|table| {
                let alike = |name: &&String| plain_form(name) == plain_form(segment);
                let known = table.known(segment);
                known
                    .or_else(|| table.known(table.names().find(alike)?))
                    .or_else(|| table.find(segment).filter(|_| !segment.is_empty()))
            });
            let Some((key, inner)) = step else {
                return Err([&path, &segments[at..]].concat());
            };
            path.push(key.clone());
            shape = inner;
        }
        Ok((path, shape))
    }

    /// The path of the list that contains this path. Only a whole list can be set.
    pub(crate) fn list_in<'p>(&self, path: &'p [String]) -> Option<&'p [String]> {
        let list = |path: &&[String]| self.at(path)?.list();
        let mut starts = (1..path.len()).map(|end| &path[..end]);
        starts.find(|path| list(path).is_some())
    }

    /// Whether a secret file belongs to other software, such as `ca.crt` to a client library: its name is not a key, not in a
    /// section, and not similar to a key.
    pub(crate) fn is_foreign(&self, file: &str) -> bool {
        let path = secret_file(file);
        // The name of a folder that cannot be read ends with a slash, and any key may be in the folder.
        let is_folder = file.is_empty() || file.ends_with('/');
        let is_ours = plain(file).is_some() || variable(file).is_some();
        !is_folder && !is_ours && self.resolve(&path[..1]).is_err() && self.nearest(&path).is_none()
    }

    /// The known key that looks most like an unknown one, if any does.
    pub(crate) fn nearest(&self, path: &[String]) -> Option<String> {
        // Ignore the indexes: all items of a list have the same keys.
        let keys = path.iter().filter(|key| key.parse::<usize>().is_err());
        let path: Vec<String> = keys.cloned().collect();
        let wrong = flat(&path);
        let last = path.last()?;
        let allowed = slips(&wrong);
        let in_section = self.at(&path[..1]).and_then(Self::table).is_some();
        let score = |known: &[String], shape: &Shape| {
            let edits = distance(&wrong, &flat(known));
            if edits <= allowed {
                return Some(edits);
            }
            // `port` without a section may be a key of several sections; if there is a plain variable of this name, its
            // key is preferred. A key in an existing section may belong to another section.
            let within = known.last() == Some(last) && (path.len() < known.len() || in_section);
            let is_value = shape.table().is_none() && shape.list().is_none();
            let beyond = path.starts_with(known) && is_value;
            let by_plain = plain(last).is_some_and(|plain| plain == *known);
            (within || beyond).then(|| allowed + if by_plain { 1 } else { 2 })
        };
        let known = self.paths().into_iter();
        let scored = known.filter_map(|(known, shape)| Some((score(&known, shape)?, known)));
        let best = scored.min_by_key(|(score, known)| (*score, known.len().abs_diff(path.len())));
        best.map(|(_, known)| dotted(&known))
    }
}

/// The maximum number of edits between a name and its suggestion.
fn slips(name: &str) -> usize {
    (name.chars().count() / 3).clamp(1, 4)
}

/// Whether one name may be a misspelling of another.
pub(crate) fn is_near(written: &str, known: &str) -> bool {
    distance(written, known) <= slips(written)
}

/// The path as one word, to compare paths: `APP__SERVER_PORT` has one segment and `server.port` has two, but they look
/// alike.
fn flat(path: &[String]) -> String {
    plain_form(&path.join("_").replace('.', "_"))
}

/// Whether two paths differ at most in case, `-` and `_`.
pub(crate) fn are_alike(one: &[String], other: &[String]) -> bool {
    let plain = |path: &[String]| path.iter().map(|key| plain_form(key)).collect::<Vec<_>>();
    plain(one) == plain(other)
}

fn plain_form(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

/// The key of a plain variable or of a secret file with such a name.
fn plain(name: &str) -> Option<[&'static str; 2]> {
    let mut all = PLAIN.into_iter();
    let (_, path) = all.find(|(plain, _)| plain_form(plain) == plain_form(name))?;
    Some(path)
}

/// The path in a variable's name, if the variable is a setting.
pub(crate) fn variable(name: &str) -> Option<Vec<String>> {
    after_prefix(name, PREFIX)
}

/// The path in a name such as `APP_SERVER__PORT`, whose prefix lacks an underscore. `None` for `APP_SERVER_PORT`,
/// because it may be Kubernetes' link to a service called `app-server`.
pub(crate) fn near_variable(name: &str) -> Option<Vec<String>> {
    let path = after_prefix(name, NEAR_PREFIX)?;
    (path.len() > 1 && path[0].starts_with(|c| c != '_')).then_some(path)
}

fn after_prefix(name: &str, prefix: &str) -> Option<Vec<String>> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    let path = rest.split("__").map(str::to_lowercase).collect();
    start.eq_ignore_ascii_case(prefix).then_some(path)
}

/// The path in a secret file's name. Folders are levels, and the name may be that of a variable.
pub(crate) fn secret_file(name: &str) -> Vec<String> {
    if let Some(path) = plain(name) {
        return path.map(str::to_owned).to_vec();
    }
    variable(name).unwrap_or_else(|| {
        name.replace("__", ".")
            .split(['.', '/'])
            .map(str::to_owned)
            .collect()
    })
}

/// The path in the key of a flag.
pub(crate) fn flag(key: &str) -> Vec<String> {
    key.trim().split('.').map(str::to_owned).collect()
}

/// The origin of an environment variable's value.
pub(crate) fn origin(variable: &str) -> String {
    format!("environment variable {variable}")
}

/// The variable that sets a key, for hints.
pub(crate) fn variable_for(path: &[String]) -> String {
    let levels = plain_form(&path.join("__"));
    format!("{PREFIX}{}", levels.to_uppercase())
}

/// Edits between two names, a swap of neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // `edits[i][j]` is the distance between the first `i` characters of `a` and the first `j` of `b`.
    let mut edits = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                edits[i][j] = i + j;
                continue;
            }
            let (x, y) = (a[i - 1], b[j - 1]);
            let replaced = edits[i - 1][j - 1] + usize::from(x != y);
            let mut fewest = replaced.min(edits[i - 1][j] + 1).min(edits[i][j - 1] + 1);
            if i > 1 && j > 1 && (x, y) == (b[j - 2], a[i - 2]) {
                fewest = fewest.min(edits[i - 2][j - 2] + 1);
            }
            edits[i][j] = fewest;
        }
    }
    edits[a.len()][b.len()]
}

/// The path of a key, or of an item, in the value at `path`.
pub(crate) fn below(path: &[String], key: impl ToString) -> Vec<String> {
    [path, &[key.to_string()]].concat()
}

/// `["server", "port"]` as people write it: `server.port`; odd keys are quoted.
pub(crate) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let parts: Vec<String> = path.iter().map(|key| quoted_if_odd(key.as_ref())).collect();
    parts.join(".")
}

pub(crate) fn quoted_if_odd(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        toml_string(key)
    }
}

/// A TOML basic string, with everything escaped that could confuse a terminal or a log.
pub(crate) fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            // TOML writes these as Rust does.
            '"' | '\\' | '\n' | '\t' | '\r' => quoted.extend(c.escape_debug()),
            // Not printable, according to Rust.
            _ if c.escape_debug().len() > 1 && c != '\'' => {
                quoted += &format!("\\U{:08X}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
