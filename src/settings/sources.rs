//! Where settings come from, and what was found there.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::fault::Fault;
use super::names::{self, Catalog};
use super::toml_file;
use super::tree::{Node, Origin};

const CONFIG_DIR: &str = "APP_CONFIG_DIR";
const SECRETS_DIR: &str = "APP_SECRETS_DIR";
const RUN_ENV: &str = "RUN_ENV";

/// Kubernetes allows no larger Secret or ConfigMap.
const MAX_FILE: u64 = 1 << 20;
/// Folders in the secrets directory are levels of a key; no key has more.
const MAX_LEVELS: usize = 8;

/// Where settings are read from: directories, variables and flags.
#[derive(Clone)]
pub struct Sources {
    config_dir: Option<PathBuf>,
    secrets_dir: Option<PathBuf>,
    run_env: OsString,
    vars: Vec<(OsString, OsString)>,
    sets: Vec<String>,
}

/// The files as they were at one moment.
#[derive(Hash)]
pub(super) struct Files {
    config: Vec<File>,
    secrets: Vec<File>,
}

#[derive(Hash)]
struct File {
    /// Shown to people; for a secret file, its path below the directory is its name.
    path: String,
    name: String,
    text: Result<String, String>,
}

// === impl Sources ===

impl Sources {
    /// What a service uses: the process's variables, and the directories they name.
    pub fn from_env() -> Self {
        let vars: Vec<_> = std::env::vars_os().collect();
        let var = |name: &str| {
            let found = vars
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone());
            found.filter(|value| !value.is_empty())
        };
        Self {
            config_dir: Some(var(CONFIG_DIR).map_or_else(|| "config".into(), PathBuf::from)),
            secrets_dir: Some(
                var(SECRETS_DIR).map_or_else(|| "/var/secrets".into(), PathBuf::from),
            ),
            run_env: var(RUN_ENV).unwrap_or_else(|| "dev".into()),
            vars,
            sets: Vec::new(),
        }
    }

    /// No files and no variables, so defaults only: for tests.
    pub fn empty() -> Self {
        Self {
            config_dir: None,
            secrets_dir: None,
            run_env: "dev".into(),
            vars: Vec::new(),
            sets: Vec::new(),
        }
    }

    /// Sets a key over every other layer, as `--set KEY=VALUE` does.
    pub fn set(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.sets
            .push(format!("{}={}", key.as_ref(), value.as_ref()));
        self
    }

    /// Adds the argument of a `--set` flag, `KEY=VALUE`.
    pub fn with_set(mut self, key_and_value: impl Into<String>) -> Self {
        self.sets.push(key_and_value.into());
        self
    }

    /// Adds a variable, or replaces it.
    pub fn with_var(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.vars.retain(|(existing, _)| *existing != name);
        self.vars.push((name, value.into()));
        self
    }

    /// Reads `default.toml` and `{RUN_ENV}.toml` from this directory.
    pub fn with_config_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config_dir = Some(directory.into());
        self
    }

    /// Reads secret files from this directory.
    pub fn with_secrets_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.secrets_dir = Some(directory.into());
        self
    }

    /// Which `{RUN_ENV}.toml` to read.
    pub fn with_run_env(mut self, run_env: impl Into<OsString>) -> Self {
        self.run_env = run_env.into();
        self
    }

    /// Whether there is a directory whose files may change.
    pub(super) fn can_change(&self) -> bool {
        [&self.config_dir, &self.secrets_dir]
            .into_iter()
            .flatten()
            .any(|directory| directory.is_dir())
    }

    pub(super) fn read(&self) -> Files {
        Files {
            config: self.read_config(),
            secrets: self.read_secrets(),
        }
    }

    fn read_config(&self) -> Vec<File> {
        let Some(directory) = &self.config_dir else {
            return Vec::new();
        };
        let mut names = vec!["default.toml".to_owned()];
        if let Some(run_env) = self.run_env.to_str().filter(|name| is_file_name(name)) {
            names.push(format!("{run_env}.toml"));
        }
        names
            .iter()
            .filter_map(|name| File::read(directory, name))
            .collect()
    }

    fn read_secrets(&self) -> Vec<File> {
        let mut files = Vec::new();
        if let Some(directory) = &self.secrets_dir {
            collect_secrets(directory, "", MAX_LEVELS, &mut files);
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// Every layer above the defaults, lowest first, with what was wrong in it left out.
    pub(super) fn layers(&self, files: &Files, catalog: &Catalog) -> (Vec<Node>, Vec<Fault>) {
        let mut checker = Checker::new(catalog);
        let mut layers = Vec::new();
        self.check_directories(&mut checker.faults);
        for file in &files.config {
            match &file.text {
                Ok(text) => {
                    let (node, faults) = toml_file::parse(&file.path, text);
                    checker.faults.extend(faults);
                    layers.extend(checker.layer(&node));
                }
                Err(problem) => checker.faults.push(Fault::new("", &file.origin(), problem)),
            }
        }
        for file in &files.secrets {
            let origin = Origin::SecretFile(file.path.clone());
            match &file.text {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    layers.extend(checker.entry(&names::secret_file(&file.name), text, origin));
                }
                Err(problem) => checker.faults.push(Fault::new("", &origin, problem)),
            }
        }
        layers.extend(self.plain_layer(&mut checker));
        layers.extend(self.variables_layer(&mut checker));
        layers.extend(self.sets_layer(&mut checker));
        (layers, checker.faults)
    }

    fn check_directories(&self, faults: &mut Vec<Fault>) {
        for (variable, directory) in [
            (CONFIG_DIR, &self.config_dir),
            (SECRETS_DIR, &self.secrets_dir),
        ] {
            let named = self
                .vars
                .iter()
                .any(|(name, value)| name == variable && !value.is_empty());
            if named
                && let Some(directory) = directory
                && !directory.is_dir()
            {
                let message = format!(
                    "expected a directory, found none at {}",
                    printable(directory)
                );
                faults.push(Fault::new("", &Origin::Variable(variable.into()), message));
            }
        }
        if !self.run_env.to_str().is_some_and(is_file_name) {
            let message = format!(
                "expected a name such as \"production\", found {:?}",
                self.run_env
            );
            faults.push(Fault::new("", &Origin::Variable(RUN_ENV.into()), message));
        }
    }

    /// Platforms set these for every service, so one that the service has no key for is no fault.
    fn plain_layer(&self, checker: &mut Checker<'_>) -> Vec<Node> {
        let mut layer = Vec::new();
        for (name, path) in names::PLAIN {
            let path = path.map(str::to_owned);
            if !checker.knows(&path) {
                continue;
            }
            let values = self
                .vars
                .iter()
                .filter(|(key, value)| key == name && !value.is_empty());
            for (_, value) in values {
                layer.extend(checker.os_entry(&path, value, Origin::Variable(name.into())));
            }
        }
        layer
    }

    fn variables_layer(&self, checker: &mut Checker<'_>) -> Vec<Node> {
        let mut found: Vec<(Vec<String>, &OsStr, Origin)> = Vec::new();
        for (name, value) in &self.vars {
            let lossy = name.to_string_lossy();
            if let Some(path) = names::variable(&lossy) {
                found.push((path, value, names::printable(name)));
            }
        }
        // Tables before what is in them, and the same order on every machine.
        found.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
        let mut layer = Vec::new();
        let mut seen: Vec<(Vec<String>, Origin)> = Vec::new();
        for (path, value, origin) in found {
            let lower: Vec<String> = path.iter().map(|key| key.to_lowercase()).collect();
            if let Some((_, first)) = seen.iter().find(|(path, _)| *path == lower) {
                let message = format!("set twice, by {first} too");
                checker
                    .faults
                    .push(Fault::new(super::tree::dotted(&lower), &origin, message));
                continue;
            }
            seen.push((lower, origin.clone()));
            layer.extend(checker.os_entry(&path, value, origin));
        }
        layer
    }

    fn sets_layer(&self, checker: &mut Checker<'_>) -> Vec<Node> {
        let mut layer = Vec::new();
        for (at, set) in self.sets.iter().enumerate() {
            // Without "=" it may be a value, and a secret one.
            let Some((key, value)) = set.split_once('=') else {
                let origin = Origin::Flag(format!("number {}", at + 1));
                checker.faults.push(Fault::new(
                    "",
                    &origin,
                    "expected KEY=VALUE, found no \"=\"",
                ));
                continue;
            };
            let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
            layer.extend(checker.entry(&path, value, Origin::Flag(super::tree::dotted(&path))));
        }
        layer
    }
}

impl std::fmt::Debug for Sources {
    /// Without the values of variables and flags, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("config_dir", &self.config_dir)
            .field("secrets_dir", &self.secrets_dir)
            .field("run_env", &self.run_env)
            .finish_non_exhaustive()
    }
}

// === impl Files ===

impl Files {
    /// Equal files have equal fingerprints; it tells nothing of what is in them.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// How many files there are.
    pub(super) fn count(&self) -> usize {
        self.config.len() + self.secrets.len()
    }
}

impl File {
    /// `None` if there is no such file.
    fn read(directory: &Path, name: &str) -> Option<Self> {
        let path = directory.join(name);
        let text = match read_text(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
        };
        Some(Self {
            path: printable(&path),
            name: name.to_owned(),
            text,
        })
    }

    fn origin(&self) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: 1,
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    // A pipe would block for ever.
    if !metadata.is_file() {
        return Err(io::Error::other("expected a file, found something else"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other("expected at most 1 MiB, found more"));
    }
    String::from_utf8(std::fs::read(path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!(
            "expected UTF-8, found something else at byte {}",
            at + 1
        ))
    })
}

/// Dot-files are skipped: Kubernetes keeps its versions in `..data` and the like.
fn collect_secrets(directory: &Path, prefix: &str, levels: usize, files: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let inner = if prefix.is_empty() {
            name.to_string()
        } else {
            format!("{prefix}/{name}")
        };
        if entry.path().is_dir() {
            if levels > 1 {
                collect_secrets(&entry.path(), &inner, levels - 1, files);
            }
        } else if let Some(file) = File::read(directory, &name) {
            files.push(File {
                name: inner,
                ..file
            });
        }
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !name.starts_with('.')
}

fn printable(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
