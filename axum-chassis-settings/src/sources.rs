//! The sources of settings: two directories, environment variables, flags, and sources that a service adds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use config::{ConfigError, Source, Value};

use crate::added::Added;
use crate::check::{Checker, Strings, invalid, shown};
use crate::fault::{Fault, Findings, Invalid};
use crate::files::{Files, printable};
use crate::layer::{nested, sorted};
use crate::names::{self, dotted};

const CONFIG_DIR: &str = "APP_CONFIG_DIR";
const SECRETS_DIR: &str = "APP_SECRETS_DIR";
const RUN_ENV: &str = "RUN_ENV";

/// The sources of settings: directories, environment variables and flags.
#[derive(Clone)]
#[must_use = "sources are read when settings are loaded from them"]
pub struct Sources {
    config_dir: Option<PathBuf>,
    secrets_dir: Option<PathBuf>,
    run_env: OsString,
    added: Vec<Added>,
    vars: Vec<(OsString, OsString)>,
    sets: Vec<String>,
}

impl Sources {
    /// The default sources: the process's environment variables, and the directories that they name.
    pub fn from_env() -> Self {
        let mut sources = Self::empty();
        sources.vars = std::env::vars_os().collect();
        let told =
            |name, usual: &'static str| sources.var(name).unwrap_or(usual.as_ref()).to_owned();
        let config = told(CONFIG_DIR, "config");
        let secrets = told(SECRETS_DIR, "/var/secrets");
        let run_env = told(RUN_ENV, "dev");
        let sources = sources.with_config_dir(config).with_secrets_dir(secrets);
        sources.with_run_env(run_env)
    }

    /// No files and no variables, so defaults only: for tests.
    pub fn empty() -> Self {
        Self {
            config_dir: None,
            secrets_dir: None,
            run_env: "dev".into(),
            added: Vec::new(),
            vars: Vec::new(),
            sets: Vec::new(),
        }
    }

    /// Sets a key in the highest layer, as `--set KEY=VALUE` does.
    pub fn set(self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.with_set(format!("{}={}", key.as_ref(), value.as_ref()))
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

    /// The name of the environment: `RUN_ENV`, or `dev`.
    pub fn run_env(&self) -> Cow<'_, str> {
        self.run_env.to_string_lossy()
    }

    /// Sets `RUN_ENV`: the file `{RUN_ENV}.toml` is read.
    pub fn with_run_env(mut self, run_env: impl Into<OsString>) -> Self {
        self.run_env = run_env.into();
        self
    }

    /// Adds a layer above the configuration files and below secrets, variables and flags. Of several sources, the last
    /// one wins.
    ///
    /// Its values are validated like those of other layers. If a value has no origin, its origin is the source's type.
    /// Values whose origin begins with `secret ` are always redacted. A key with dots is a path, and text is converted
    /// to the type of its key. The source runs on a thread of its own, where it may block.
    pub fn source(mut self, source: impl Source + Send + Sync + 'static) -> Self {
        self.added.push(Added::new(source));
        self
    }

    /// Adds the sources that have been added to `other`.
    pub fn with_sources_of(mut self, other: Self) -> Self {
        self.added.extend(other.added);
        self
    }

    /// The value of a variable; an empty one counts as unset.
    fn var(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.vars.iter().find(|(key, _)| key == name)?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// Whether there are sources besides files, which are slower to read.
    pub(crate) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    /// Whether there is a directory whose files may change, or a source whose values may change.
    pub(crate) fn can_change(&self) -> bool {
        let directories = [&self.config_dir, &self.secrets_dir].into_iter();
        self.has_added() || directories.flatten().any(|directory| directory.is_dir())
    }

    pub(crate) fn read(&self) -> Files {
        let usable = |name: &&str| is_file_name(name) && *name != "default";
        let run_env = self.run_env.to_str().filter(usable);
        let stems: Vec<&str> = ["default"].into_iter().chain(run_env).collect();
        let [config, secrets] = [&self.config_dir, &self.secrets_dir].map(Option::as_deref);
        Files::read(config, &stems, secrets, &self.added)
    }

    /// Checks every layer above the defaults, lowest first.
    pub(crate) fn check(&self, files: &Files, checker: &mut Checker<'_>) {
        self.check_places(files, &mut checker.findings);
        check_config(files, checker);
        check_added(files, checker);
        checker.begin_layer();
        check_secrets(files, checker);
        checker.begin_layer();
        self.check_plain(checker);
        checker.begin_layer();
        self.check_variables(checker);
        checker.begin_layer();
        self.check_flags(checker);
    }

    /// A directory that a variable names must exist. The default directories may be missing.
    fn check_places(&self, files: &Files, findings: &mut Findings) {
        let directories = [
            (CONFIG_DIR, &self.config_dir),
            (SECRETS_DIR, &self.secrets_dir),
        ];
        for (name, directory) in directories {
            let missing = directory.as_deref().filter(|path| !path.is_dir());
            if let (Some(_), Some(path)) = (self.var(name), missing) {
                let message = format!("directory not found: {}", printable(path));
                findings.unreadable(&names::origin(name), message);
            }
        }
        if !self.run_env.to_str().is_some_and(is_file_name) {
            let found = shown(
                &Value::new(
                    Some(&names::origin(RUN_ENV)),
                    &*self.run_env.to_string_lossy(),
                ),
                false,
            );
            let message = invalid(&found, "a name such as \"production\"");
            findings.unreadable(&names::origin(RUN_ENV), message);
        } else if !files.other_environments.is_empty() {
            let run_env = self.run_env.to_string_lossy();
            let found = files.other_environments.join(", ");
            let message = format!("no file {run_env}.toml, found {found}");
            let stems = files.other_environments.iter();
            let mut stems = stems.filter_map(|name| name.strip_suffix(".toml"));
            findings.warnings.push(Fault {
                suggestion: stems
                    .find(|stem| names::is_near(&run_env, stem))
                    .map(str::to_owned),
                ..Fault::new(&[], &names::origin(RUN_ENV), message)
            });
        }
    }

    /// Platforms set these for every service, so one without a matching key is not an error.
    fn check_plain(&self, checker: &mut Checker<'_>) {
        for (name, path) in names::PLAIN {
            let path = path.map(str::to_owned);
            if let Some(value) = self.var(name)
                && checker.shape.resolve(&path).is_ok()
            {
                checker.entry(&path, value, &names::origin(name));
            }
        }
    }

    fn check_variables(&self, checker: &mut Checker<'_>) {
        let mut entries = Vec::new();
        for (name, value) in &self.vars {
            let name = name.to_string_lossy();
            let origin = names::origin(&name.escape_debug().to_string());
            if let Some(path) = names::near_variable(&name)
                && let Ok((path, _)) = checker.shape.resolve(&path)
            {
                let variable = names::variable_for(&path);
                let message = format!("misspelled environment variable, expected {variable}");
                checker.findings.note(&path, &origin, message);
            }
            entries.extend(names::variable(&name).map(|path| (path, value.as_os_str(), origin)));
        }
        check_entries(entries, checker);
    }

    fn check_flags(&self, checker: &mut Checker<'_>) {
        for (at, set) in self.sets.iter().enumerate() {
            if let Some((key, value)) = set.split_once('=') {
                let path = names::flag(key);
                let origin = format!("--set {}", dotted(&path));
                checker.entry(&path, value.as_ref(), &origin);
            } else {
                // Do not show the text: it may be a value, and a secret.
                let origin = format!("--set number {}", at + 1);
                let message = "missing \"=\", expected KEY=VALUE";
                checker.findings.note(&[], &origin, message);
            }
        }
    }
}

fn check_config(files: &Files, checker: &mut Checker<'_>) {
    for file in &files.config {
        checker.begin_layer();
        match file.collect() {
            Ok(table) => checker.table(&table.into(), Strings::Typed),
            Err(ConfigError::Foreign(error)) => {
                let invalid = error.downcast_ref::<Invalid>();
                for fault in invalid.into_iter().flat_map(Invalid::faults) {
                    checker.findings.unreadable(&fault.origin, &fault.message);
                }
            }
            Err(error) => checker.findings.unreadable(&file.path, error.to_string()),
        }
    }
}

/// As in `config`, a key with dots is a path: a key-value store has no other way to write nested keys.
fn check_added(files: &Files, checker: &mut Checker<'_>) {
    for output in &files.added {
        checker.begin_layer();
        match &output.table {
            Ok(table) => {
                for (key, value) in sorted(table) {
                    let table = nested(&names::flag(key), value.clone());
                    checker.table(&table, Strings::Text);
                }
            }
            Err(problem) => checker.findings.unreadable(&output.name, problem),
        }
    }
}

fn check_secrets(files: &Files, checker: &mut Checker<'_>) {
    let mut entries = Vec::new();
    for file in &files.secrets {
        let origin = format!("secret file {}", file.path);
        if checker.shape.is_foreign(&file.name) {
            let ignored = Fault::new(&[], &origin, "ignored, because its name is not a setting");
            checker.findings.warnings.push(ignored);
            continue;
        }
        match &file.text {
            Ok(text) => {
                // Editors and `echo` end a file with a newline that does not belong to the value.
                let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
                let text = OsStr::new(line.unwrap_or(text));
                entries.push((names::secret_file(&file.name), text, origin));
            }
            Err(problem) => checker.findings.unreadable(&origin, problem),
        }
    }
    check_entries(entries, checker);
}

/// Checks a layer whose entries have no order, so no key may be set twice.
fn check_entries(entries: Vec<(Vec<String>, &OsStr, String)>, checker: &mut Checker<'_>) {
    // Sorted by key: tables come before what is in them, and faults always in the same order.
    let mut unique = BTreeMap::<_, (Vec<String>, &OsStr, String)>::new();
    for (written, text, origin) in entries {
        let known = checker.shape.resolve(&written);
        let path = known.map_or_else(|unknown| unknown, |(path, _)| path);
        if let Some((_, _, first)) = unique.get(&path) {
            let message = format!("already set by {first}");
            checker.findings.note(&path, &origin, message);
        } else {
            unique.insert(path, (written, text, origin));
        }
    }
    for (written, text, origin) in unique.values() {
        checker.entry(written, text, origin);
    }
}

fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

impl fmt::Debug for Sources {
    /// Without the values of variables and flags, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("config_dir", &self.config_dir)
            .field("secrets_dir", &self.secrets_dir)
            .field("run_env", &self.run_env)
            .finish_non_exhaustive()
    }
}
