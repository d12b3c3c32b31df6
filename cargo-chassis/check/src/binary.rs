//! Runs the binary to find out its settings, routes and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::promql;

/// Timeout for the service to open its listeners.
const START: Duration = Duration::from_secs(30);
/// Timeout of `--config-schema`: a program without this flag may simply run.
const SCHEMA: Duration = Duration::from_secs(10);

/// A service's executable.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    secrets: BTreeMap<String, Vec<u8>>,
    schema: Value,
    foreign_binary: Option<String>,
}

/// The inputs from a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) env: BTreeMap<String, String>,
    /// The configuration files, by name.
    pub(crate) config: BTreeMap<String, Vec<u8>>,
    /// The secret files, by name.
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
}

/// A running service.
#[derive(Debug)]
pub(crate) struct Live {
    process: Child,
    listeners: BTreeMap<String, SocketAddr>,
    /// The dependency that the service waits for before it opens the main listener.
    waits_for: Option<String>,
    _folder: TempDir,
}

/// The result of a scrape: the name of each sample, its labels, and their values.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    samples: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

// === impl Binary ===

impl Binary {
    pub(crate) fn new(path: &Path, secrets: Option<&Path>) -> anyhow::Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("no binary found at {}", path.display()))?;
        let mut files = BTreeMap::new();
        if let Some(folder) = secrets {
            for entry in folder
                .read_dir()
                .with_context(|| format!("cannot read {}", folder.display()))?
            {
                let entry = entry?;
                files.insert(
                    entry.file_name().display().to_string(),
                    std::fs::read(entry.path())?,
                );
            }
        }
        let mut binary = Self {
            path,
            secrets: files,
            schema: Value::Null,
            foreign_binary: None,
        };
        match binary.ask_for_schema()? {
            Ok(schema) => binary.schema = schema,
            Err(reason) => binary.foreign_binary = Some(reason),
        }
        Ok(binary)
    }

    /// The reason why this binary counts as one without axum-chassis; `None` if it uses axum-chassis.
    pub(crate) fn foreign_binary(&self) -> Option<&str> {
        self.foreign_binary.as_deref()
    }

    fn ask_for_schema(&self) -> anyhow::Result<Result<Value, String>> {
        let (_folder, mut command) = self.command(&Inputs::default())?;
        let mut process = command
            .arg("--config-schema")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run the binary")?;
        let mut output = process.stdout.take().context("its output is piped")?;
        let (send, printed) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = output.read_to_end(&mut text);
            let _ = send.send(text);
        });
        let printed = printed.recv_timeout(SCHEMA);
        // The process has ended, or must not run any longer.
        let _ = process.kill();
        let ended = process.wait()?;
        Ok(match printed {
            Ok(text) if ended.success() => serde_json::from_slice(&text)
                .map_err(|_| "--config-schema prints no JSON".to_owned()),
            Ok(_) => Err(format!("--config-schema ends with {ended}")),
            Err(_) => Err(format!(
                "--config-schema printed nothing within {} s",
                SCHEMA.as_secs()
            )),
        })
    }

    /// The keys of settings that have the name of a secret, but are not declared as secrets.
    pub(crate) fn undeclared_secrets(&self) -> Vec<&str> {
        let keys = self.schema["x-undeclared-secrets"].as_array();
        let keys = keys.into_iter().flatten();
        keys.filter_map(Value::as_str).collect()
    }

    /// Whether a dotted key is one of the binary's settings.
    pub(crate) fn knows(&self, key: &str) -> bool {
        let mut here = &self.schema;
        for part in key.split('.') {
            here = self.resolved(here);
            let properties = here
                .get("properties")
                .and_then(|properties| properties.get(part));
            match properties.or_else(|| {
                here.get("additionalProperties")
                    .filter(|more| more.is_object())
            }) {
                Some(next) => here = next,
                None => return false,
            }
        }
        true
    }

    /// Follows `$ref`, and the `anyOf` of an optional setting.
    fn resolved<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..8 {
            if let Some(pointer) = schema.get("$ref").and_then(Value::as_str) {
                schema = self
                    .schema
                    .pointer(pointer.trim_start_matches('#'))
                    .unwrap_or(&Value::Null);
                continue;
            }
            let choices = ["anyOf", "allOf", "oneOf"]
                .iter()
                .find_map(|word| schema.get(word)?.as_array());
            match choices.and_then(|choices| {
                choices
                    .iter()
                    .find(|choice| choice.get("type") != Some(&"null".into()))
            }) {
                Some(choice) if schema.get("properties").is_none() => schema = choice,
                _ => break,
            }
        }
        schema
    }

    /// The effective settings with these inputs, or the binary's error.
    pub(crate) fn settings(&self, inputs: &Inputs) -> anyhow::Result<Result<Value, String>> {
        let (_folder, mut command) = self.command(inputs)?;
        let output = command.arg("--check-config").output()?;
        if !output.status.success() {
            return Ok(Err(said(&output)));
        }
        let (_folder, mut command) = self.command(inputs)?;
        let output = command.arg("--print-config").output()?;
        ensure!(
            output.status.success(),
            "--print-config failed: {}",
            said(&output)
        );
        let text =
            String::from_utf8(output.stdout).context("--print-config did not print UTF-8")?;
        let settings = toml::from_str(&text).context("--print-config did not print TOML")?;
        Ok(Ok(settings))
    }

    /// Whether the binary has a command with this name.
    pub(crate) fn has_command(&self, name: &str) -> anyhow::Result<bool> {
        let (_folder, mut command) = self.command(&Inputs::default())?;
        let output = command.arg("--help").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut before_options = text.lines().take_while(|line| *line != "Options:");
        Ok(before_options.any(|line| line.split_whitespace().next() == Some(name)))
    }

    /// Runs the binary on free ports. `file` is the key of the setting that names an SQLite file, if there is one; it
    /// is set to a temporary file.
    pub(crate) fn start(&self, inputs: &Inputs, file: Option<&str>) -> anyhow::Result<Live> {
        let (folder, mut command) = self.command(inputs)?;
        if let Some(key) = file {
            let path = folder.path().join("check.db");
            command.args(["--set", &format!("{key}=sqlite:{}", path.display())]);
        }
        for setting in [
            "server.port=0",
            "admin.port=0",
            "logs.format=json",
            "logs.filter=info",
            "logs.access=false",
        ] {
            command.args(["--set", setting]);
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut live = Live {
            process,
            listeners: BTreeMap::new(),
            waits_for: None,
            _folder: folder,
        };
        let (send, lines) = mpsc::channel();
        // This thread continues to read after the start, so that the pipe never blocks the service.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let deadline = Instant::now() + START;
        let mut seen = String::new();
        while live.listeners.len() < 2 && live.waits_for.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                bail!(
                    "{} did not open its ports; its output:\n{seen}",
                    self.path.display()
                );
            };
            let event = serde_json::from_str(&line).unwrap_or(Value::Null);
            // When the service logs this, its admin listener is open.
            if text(&event, "message") == Some("waiting for a dependency") {
                live.waits_for = text(&event, "dependency").map(str::to_owned);
            }
            if let (Some("listening"), Some(name), Some(address)) = (
                text(&event, "message"),
                text(&event, "listener"),
                text(&event, "address"),
            ) {
                let port = address
                    .parse::<SocketAddr>()
                    .context("invalid address in the log")?
                    .port();
                live.listeners
                    .insert(name.to_owned(), SocketAddr::from(([127, 0, 0, 1], port)));
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        Ok(live)
    }

    /// The command for the binary, in a folder like the image's and without this process's environment.
    fn command(&self, inputs: &Inputs) -> anyhow::Result<(TempDir, Command)> {
        let folder = tempfile::tempdir()?;
        for (name, files) in [
            ("config", vec![&inputs.config]),
            ("secrets", vec![&inputs.secrets, &self.secrets]),
        ] {
            std::fs::create_dir(folder.path().join(name))?;
            for (file, contents) in files.into_iter().flatten() {
                std::fs::write(folder.path().join(name).join(file), contents)?;
            }
        }
        let mut command = Command::new(&self.path);
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .env_clear()
            .envs(&inputs.env)
            // Some defaults are different in a cluster.
            .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .env("APP_CONFIG_DIR", folder.path().join("config"))
            .env("APP_SECRETS_DIR", folder.path().join("secrets"));
        Ok((folder, command))
    }
}

fn said(output: &std::process::Output) -> String {
    let text = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn text<'a>(event: &'a Value, key: &str) -> Option<&'a str> {
    event.get(key)?.as_str()
}

// === impl Live ===

impl Live {
    /// The dependency that the service waits for, such as a database. During the wait, only the admin listener is open,
    /// and the metrics have no samples.
    pub(crate) fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    pub(crate) fn listens(&self, listener: &str) -> bool {
        self.listeners.contains_key(listener)
    }

    /// The status and body of a GET on `listener`, `main` or `admin`.
    pub(crate) fn get(&self, listener: &str, path: &str) -> anyhow::Result<(u16, String)> {
        let address = self
            .listeners
            .get(listener)
            .with_context(|| format!("there is no listener {listener}"))?;
        let request = minreq::get(format!("http://{address}{path}"));
        let response = request
            .with_follow_redirects(false)
            .with_timeout(10)
            .send()?;
        Ok((response.status_code, response.as_str()?.to_owned()))
    }

    /// Resident memory in bytes, if the system reports it.
    pub(crate) fn memory(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes = line.trim().strip_suffix(" kB")?.parse::<f64>().ok()?;
        Some(kibibytes * 1024.0)
    }

    /// The metrics at `path` of the admin listener, after a request to `/` and one to a missing route.
    pub(crate) fn scrape(&self, path: &str) -> anyhow::Result<Scrape> {
        for path in ["/", "/no-such-route"] {
            self.get("main", path)?;
        }
        let (status, body) = self.get("admin", path)?;
        ensure!(status == 200, "{path} answers {status}");
        Ok(Scrape::parse(&body))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The service has no state that needs a graceful shutdown.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Scrape ===

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // A sample without its value has the syntax of a selector.
            let query = line.rsplit_once(' ').map_or(line, |(sample, _)| sample);
            for selector in promql::parse(query).unwrap_or_default().selectors {
                let labels = scrape.samples.entry(selector.metric).or_default();
                for (label, value) in selector.labels {
                    labels.entry(label).or_default().extend(value);
                }
            }
        }
        scrape
    }

    /// The labels of a metric and their values, if the metric exists.
    pub(crate) fn labels(&self, metric: &str) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        self.samples.get(metric)
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_should_be_secrets_are_those_of_the_schema() {
        let of = |schema| Binary {
            path: PathBuf::new(),
            secrets: BTreeMap::new(),
            schema,
            foreign_binary: None,
        };
        let some = of(serde_json::json!({ "x-undeclared-secrets": ["mq.api_key"] }));
        assert_eq!(some.undeclared_secrets(), ["mq.api_key"]);
        assert!(of(serde_json::json!({})).undeclared_secrets().is_empty());
    }
}
