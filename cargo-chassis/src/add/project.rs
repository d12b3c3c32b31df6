//! Reads the package, the binary and the port of an existing Cargo project.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use regex_lite::Regex;
use serde_json::Value;

use crate::cargo::cargo;

/// The project to add files to.
#[derive(Debug)]
pub(super) struct Project {
    /// The root of the workspace, because images are built from there.
    pub(super) root: PathBuf,
    pub(super) package: String,
    pub(super) bin: String,
    pub(super) port: Port,
    pub(super) on_chassis: bool,
}

/// The port that the program listens on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    /// The file or flag that sets it.
    origin: String,
}

/// One program of the project.
#[derive(Clone, Debug)]
struct Program {
    package: String,
    bin: String,
    /// The folder of its package.
    folder: PathBuf,
    on_chassis: bool,
    is_default: bool,
}

/// The values of `-d`.
#[derive(Debug, Default)]
struct Defines {
    package: Option<String>,
    bin: Option<String>,
    port: Option<u16>,
}

impl Project {
    pub(super) fn around(here: &Path, defines: &[String]) -> anyhow::Result<Self> {
        let said = Defines::read(defines)?;
        let metadata = metadata(here)?;
        let root = PathBuf::from(
            metadata["workspace_root"]
                .as_str()
                .context("cargo metadata has no workspace root")?,
        );
        let all = programs(&metadata);
        ensure!(
            !all.is_empty(),
            "no package of {} has a binary",
            root.display()
        );

        // If the command runs in the folder of a package, this package is chosen.
        let inner = all
            .iter()
            .filter(|program| here.starts_with(&program.folder));
        let depth = inner
            .map(|program| program.folder.components().count())
            .max();
        let meant = |program: &&Program| match (&said.package, depth) {
            (Some(name), _) => program.package == *name,
            (None, Some(depth)) => {
                here.starts_with(&program.folder) && program.folder.components().count() == depth
            }
            (None, None) => true,
        };
        let named = |program: &&Program| said.bin.as_ref().is_none_or(|name| program.bin == *name);
        let mut fit: Vec<&Program> = all.iter().filter(meant).filter(named).collect();
        if fit.len() > 1 && fit.iter().any(|program| program.is_default) {
            fit.retain(|program| program.is_default);
        }
        let [program] = fit[..] else {
            let (problem, listed) = if fit.is_empty() {
                ("binary not found", all.iter().collect())
            } else {
                ("several binaries found", fit)
            };
            let listed: Vec<String> = listed
                .iter()
                .map(|program| format!("-d package={} -d bin={}", program.package, program.bin))
                .collect();
            bail!("{problem}; choose one with:\n  {}", listed.join("\n  "));
        };

        let port = match said.port {
            Some(number) => Port {
                number,
                origin: "-d port".to_owned(),
            },
            None => Port::found(&root, program)?,
        };
        Ok(Self {
            root,
            package: program.package.clone(),
            bin: program.bin.clone(),
            port,
            on_chassis: program.on_chassis,
        })
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of package {} in {}, on port {} ({})",
            self.bin,
            self.package,
            self.root.display(),
            self.port.number,
            self.port.origin
        )
    }
}

impl Defines {
    fn read(defines: &[String]) -> anyhow::Result<Self> {
        let mut said = Self::default();
        for define in defines {
            match define.split_once('=') {
                Some(("package", name)) => said.package = Some(name.to_owned()),
                Some(("bin", name)) => said.bin = Some(name.to_owned()),
                Some(("port", number)) => {
                    let port = number.parse().ok().filter(|port| *port > 0);
                    said.port = Some(port.with_context(|| {
                        format!("invalid `-d {define}`: expected a port from 1 to 65535")
                    })?);
                }
                Some((name, _)) => bail!(
                    "invalid `-d {define}`: unknown name `{name}`, expected package, bin or port"
                ),
                None => bail!("-d {define}: missing \"=\", expected NAME=VALUE"),
            }
        }
        Ok(said)
    }
}

fn metadata(here: &Path) -> anyhow::Result<Value> {
    let output = cargo(here)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "no Cargo project found: {}",
            said.trim().trim_start_matches("error: ")
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata did not print JSON")
}

fn programs(metadata: &Value) -> Vec<Program> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut programs = Vec::new();
    for package in list(&metadata["packages"]) {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        for target in list(&package["targets"]) {
            if target["kind"][0] == "bin" {
                programs.push(Program {
                    package: text(&package["name"]),
                    bin: text(&target["name"]),
                    folder: manifest.parent().map_or_else(PathBuf::new, Path::to_owned),
                    on_chassis: list(&package["dependencies"])
                        .iter()
                        .any(|dependency| dependency["name"] == "axum-chassis"),
                    is_default: package["default_run"] == target["name"],
                });
            }
        }
    }
    programs
}

impl Port {
    /// Finds the port in the settings, in a Dockerfile or in the sources. If there is none, it is 8080.
    fn found(root: &Path, program: &Program) -> anyhow::Result<Self> {
        for file in ["config/default.toml", "config/production.toml"] {
            let Ok(text) = fs::read_to_string(program.folder.join(file)) else {
                continue;
            };
            let settings = text.parse::<toml::Table>().unwrap_or_default();
            let port = settings.get("server").and_then(|server| server.get("port"));
            if let Some(number) = port.and_then(|port| u16::try_from(port.as_integer()?).ok()) {
                return Ok(Self::new(number, file));
            }
        }
        if program.on_chassis {
            return Ok(Self::new(8080, "the default of axum-chassis"));
        }
        let exposed = Regex::new(r"(?m)^EXPOSE\s+(\d{2,5})")?;
        if let Some(number) = first(&exposed, &root.join("Dockerfile")) {
            return Ok(Self::new(number, "Dockerfile"));
        }
        // The default of a flag, such as `#[arg(long = "port", default_value = "3000")]`.
        let flag =
            Regex::new(r#"(?s)["_]?port\b.{0,120}?default_value(?:_t)?\s*[(=]\s*"?(\d{2,5})\b"#)?;
        // An address in the sources, such as "0.0.0.0:3000" or ([127, 0, 0, 1], 3000).
        let bound = Regex::new(
            r#"(?:0\.0\.0\.0:|127\.0\.0\.1:|\[::1?\]:|0, 0, 0, 0\], |127, 0, 0, 1\], )(\d{2,5})\b"#,
        )?;
        for pattern in [flag, bound] {
            for path in sources(&program.folder.join("src")) {
                if let Some(number) = first(&pattern, &path) {
                    let file = path.strip_prefix(root).unwrap_or(&path);
                    return Ok(Self::new(number, file.display()));
                }
            }
        }
        Ok(Self::new(
            8080,
            "default, no port found; set it with -d port=NUMBER",
        ))
    }

    fn new(number: u16, origin: impl fmt::Display) -> Self {
        Self {
            number,
            origin: origin.to_string(),
        }
    }
}

/// Every file below a folder, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The number of the first match in a file.
fn first(pattern: &Regex, file: &Path) -> Option<u16> {
    let text = fs::read_to_string(file).ok()?;
    let found = pattern.captures(&text)?.get(1)?;
    found.as_str().parse().ok().filter(|number| *number > 0)
}
