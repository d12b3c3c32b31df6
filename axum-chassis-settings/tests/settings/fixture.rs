//! Files, variables and flags for one load.

use std::ffi::OsString;
use std::path::Path;

use axum_chassis_settings::config::{ConfigError, File, FileFormat, Map, Source, Value};
use axum_chassis_settings::{Effective, Invalid, Sources};

use tempfile::TempDir;

use crate::structs::{Settings, load_from};

/// A directory of its own, gone when it is dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// The input of one load.
pub(crate) struct Fixture {
    config: Folder,
    secrets: Folder,
    sources: Sources,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (config, secrets) = (Folder::new(), Folder::new());
        let sources = Sources::empty()
            .with_config_dir(config.path())
            .with_secrets_dir(secrets.path());
        Self {
            config,
            secrets,
            sources,
        }
    }

    /// `config/default.toml`
    pub(crate) fn default_toml(self, toml: impl AsRef<[u8]>) -> Self {
        self.file("default.toml", toml)
    }

    /// `config/production.toml`, with `RUN_ENV=production`
    pub(crate) fn production_toml(mut self, toml: &str) -> Self {
        self.sources = self.sources.with_run_env("production");
        self.file("production.toml", toml)
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.config.write(name, content);
        self
    }

    pub(crate) fn secret(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.secrets.write(name, content);
        self
    }

    pub(crate) fn var(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.sources = self.sources.with_var(name, value);
        self
    }

    /// `--set KEY=VALUE`
    pub(crate) fn flag(mut self, set: &str) -> Self {
        self.sources = self.sources.with_set(set);
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(Sources) -> Sources) -> Self {
        self.sources = change(self.sources);
        self
    }

    /// A source that the service adds.
    pub(crate) fn source(self, source: impl Source + Send + Sync + 'static) -> Self {
        self.with(|sources| sources.source(source))
    }

    /// `config/orders.yaml`, as a source that the service adds.
    pub(crate) fn yaml(self, yaml: &str) -> Self {
        let file = self.config.path().join("orders.yaml");
        self.file("orders.yaml", yaml)
            .source(File::new(&file.to_string_lossy(), FileFormat::Yaml))
    }

    pub(crate) fn load(&self) -> Result<Settings, Invalid> {
        load_from(&self.sources)
    }

    /// The settings, which must be right.
    pub(crate) fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    /// The value of one key as TOML, and where it came from.
    pub(crate) fn value(&self, key: &str) -> (String, String) {
        value(&self.settings().effective, key)
    }

    /// The faults, a line each, with the directories as a service would see them.
    pub(crate) fn faults(&self) -> String {
        match self.load() {
            Ok(_) => String::new(),
            Err(invalid) => self.plain(&invalid.to_string()),
        }
    }

    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&*self.config.path().to_string_lossy(), "config")
            .replace(&*self.secrets.path().to_string_lossy(), "/var/secrets")
    }
}

/// A source of a team's own.
#[derive(Clone, Debug)]
pub(crate) struct Says(pub(crate) Vec<(String, Value)>);

impl Says {
    pub(crate) fn one(key: &str, value: impl Into<Value>) -> Self {
        Self(vec![(key.to_owned(), value.into())])
    }
}

impl Source for Says {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.iter().cloned().collect())
    }
}

pub(crate) fn value(effective: &Effective, key: &str) -> (String, String) {
    let pointer = format!("/settings/{}", key.replace('.', "/"));
    let json = effective.to_json();
    let value = json.pointer(&pointer).unwrap_or_else(|| panic!("no {key}"));
    (value.to_string(), effective.origin(key).unwrap().to_owned())
}
