//! The rules of `check`.

mod foreign_binary;
mod image;
mod migration;
mod network;
mod pods;
mod probes;
mod queries;
mod runbooks;
mod scaling;
mod settings;
mod stores;

use std::collections::BTreeMap;

use anyhow::Context;
use base64::Engine;
use serde_json::Value;

use crate::binary::{Binary, Inputs, Live};
use crate::fault::Faults;
use crate::render::{self, Overlay, Resource};
use crate::sources::Sources;

/// The files of Secrets, by the Secret's name.
type StandIns = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A Deployment, and the binary's settings in it.
struct Workload<'a> {
    deployment: &'a Resource,
    /// The container that the service runs in: the first.
    container: &'a Value,
    inputs: Inputs,
    /// The effective settings; null if the binary rejects the inputs.
    settings: Value,
    /// The setting that names an SQLite file, if there is one.
    sqlite: Option<stores::StoreFile>,
}

/// Runs all rules.
pub(crate) fn apply(
    sources: &Sources,
    overlays: &[Overlay],
    binary: &Binary,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let stand_ins = render::stand_ins(&sources.manifests)?;
    let mut live = None;
    for overlay in overlays {
        faults.enter(&overlay.name);
        let mut workloads = Vec::new();
        for deployment in overlay.of_kind("Deployment") {
            let workload = Workload::read(overlay, deployment, &stand_ins, binary, faults)?;
            if binary.foreign_binary().is_none() && live.is_none() && !workload.settings.is_null() {
                let file = workload.sqlite.as_ref().map(|file| file.key.as_str());
                live = Some(binary.start(&workload.inputs, file)?);
            }
            workloads.push(workload);
        }
        for workload in &workloads {
            if binary.foreign_binary().is_none() {
                settings::check(overlay, workload, binary, faults);
            }
            pods::check(workload, live.as_ref(), faults);
            probes::check(workload, live.as_ref(), faults)?;
            image::check(sources, workload, faults)?;
        }
        network::check(overlay, &workloads, live.as_ref(), faults)?;
        scaling::check(sources, overlay, &workloads, faults)?;
        stores::check(overlay, &workloads, faults);
        migration::check(sources, overlay, &workloads, &stand_ins, binary, faults)?;
        runbooks::check(sources, overlay, faults);
        if binary.foreign_binary().is_some() {
            foreign_binary::check(overlay, &workloads, faults);
        }
    }
    faults.enter("");
    if binary.foreign_binary().is_some() {
        return Ok(());
    }
    settings::undeclared_secrets(binary, faults);
    let live = match live {
        Some(live) => live,
        // The binary's metrics do not depend on the settings that it rejected.
        None => binary.start(&Inputs::default(), None).context(
            "the binary starts neither with an overlay's settings nor with its defaults",
        )?,
    };
    if let Some(store) = live.waits_for() {
        faults.warn(
            binary.path.display().to_string(),
            "start",
            format!(
                "waits for {store}, which is not available here: the queries of alerts, autoscalers and the dashboard are not \
                 checked"
            ),
            "pass --secrets with a folder that has the URL of a running store",
        );
        return Ok(());
    }
    queries::check(sources, overlays, &live, faults)
}

// === impl Workload ===

impl<'a> Workload<'a> {
    fn read(
        overlay: &Overlay,
        deployment: &'a Resource,
        stand_ins: &StandIns,
        binary: &Binary,
        faults: &mut Faults,
    ) -> anyhow::Result<Self> {
        let containers = deployment.list("/spec/template/spec/containers");
        let container = containers
            .first()
            .context("a Deployment without containers")?;
        let inputs = inputs(overlay, deployment, container, stand_ins);
        let settings = match binary.foreign_binary() {
            // A binary without axum-chassis cannot print its settings.
            Some(_) => Ok(Value::Null),
            None => binary.settings(&inputs)?,
        };
        let settings = match settings {
            Ok(settings) => settings,
            Err(complaint) => {
                settings::refused(overlay, deployment, &complaint, faults);
                Value::Null
            }
        };
        Ok(Self {
            deployment,
            container,
            sqlite: stores::StoreFile::named_by(&inputs),
            inputs,
            settings,
        })
    }

    fn file(&self) -> &str {
        &self.deployment.file
    }

    fn labels(&self) -> &Value {
        self.deployment.at("/spec/template/metadata/labels")
    }

    fn field(&self, rest: &str) -> String {
        let name = self.container["name"].as_str().unwrap_or("0");
        format!("spec.template.spec.containers[{name}]{rest}")
    }

    /// A setting, such as `server.port`.
    fn setting(&self, key: &str) -> &Value {
        let pointer = format!("/{}", key.replace('.', "/"));
        self.settings.pointer(&pointer).unwrap_or(&Value::Null)
    }

    /// A setting that is a duration, in seconds.
    fn seconds(&self, key: &str) -> Option<f64> {
        seconds(self.setting(key).as_str()?)
    }

    /// The number of the port to which a probe or a Service refers by name or number.
    fn port(&self, port: &Value) -> Option<u64> {
        let ports = self.container["ports"].as_array()?;
        let named = |listed: &&Value| match port {
            Value::String(name) => listed["name"] == name.as_str(),
            port => listed["containerPort"] == *port,
        };
        ports.iter().find(named)?["containerPort"].as_u64()
    }

    /// The name of the binary's listener with this port.
    fn listener(&self, port: u64) -> Option<&'static str> {
        let is = |key| self.setting(key).as_u64() == Some(port);
        if is("server.port") {
            Some("main")
        } else if is("admin.port") {
            Some("admin")
        } else {
            None
        }
    }

    /// The Deployment's ports and listeners, for a message.
    fn ports(&self) -> String {
        let ports = self.container["ports"].as_array().into_iter().flatten();
        let ports: Vec<String> = ports
            .map(|port| {
                format!(
                    "{} ({})",
                    port["name"].as_str().unwrap_or("unnamed"),
                    port["containerPort"]
                )
            })
            .collect();
        ports.join(", ")
    }

    /// The response to a GET through a port, if the service listens there.
    fn answer(&self, live: Option<&Live>, port: u64, path: &str) -> anyhow::Result<Option<u16>> {
        match (live, self.listener(port)) {
            (Some(live), Some(listener)) if live.listens(listener) => {
                Ok(Some(live.get(listener, path)?.0))
            }
            _ => Ok(None),
        }
    }
}

/// The binary's inputs from the pod: variables and files.
fn inputs(
    overlay: &Overlay,
    deployment: &Resource,
    container: &Value,
    stand_ins: &StandIns,
) -> Inputs {
    let mut inputs = Inputs::default();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let map = source["configMapRef"]["name"]
            .as_str()
            .and_then(|name| overlay.find("ConfigMap", name));
        let secret = source["secretRef"]["name"]
            .as_str()
            .and_then(|name| overlay.find("Secret", name));
        for (key, value) in map.or(secret).map(contents).unwrap_or_default() {
            inputs
                .env
                .insert(key, String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            inputs.env.insert(name.to_owned(), value.to_owned());
        }
    }
    for volume in deployment.list("/spec/template/spec/volumes") {
        let map = volume["configMap"]["name"]
            .as_str()
            .and_then(|name| overlay.find("ConfigMap", name));
        inputs.config.extend(map.map(contents).unwrap_or_default());
        let name = volume["secret"]["secretName"].as_str().unwrap_or_default();
        let secret = match overlay.find("Secret", name) {
            Some(secret) => contents(secret),
            None => stand_ins.get(name).cloned().unwrap_or_default(),
        };
        inputs.secrets.extend(secret);
    }
    inputs
}

/// The content of a ConfigMap or a Secret.
fn contents(resource: &Resource) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let entries = |pointer| resource.at(pointer).as_object().into_iter().flatten();
    for (key, value) in entries("/data").chain(entries("/stringData")) {
        let text = value.as_str().unwrap_or_default();
        let bytes = match resource.kind() {
            // kustomize breaks long values into lines.
            "Secret" => base64::engine::general_purpose::STANDARD
                .decode(text.replace(['\n', ' '], ""))
                .unwrap_or_default(),
            _ => text.as_bytes().to_vec(),
        };
        contents.insert(key.clone(), bytes);
    }
    contents
}

/// Whether labels satisfy a selector without expressions. An empty selector matches nothing here, because no rule
/// needs one.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Converts a duration such as `30s`, `500ms` or `2m` to seconds.
fn seconds(text: &str) -> Option<f64> {
    let units = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let (_, size) = units.into_iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<f64>().ok()? * size)
}

/// Converts a Kubernetes quantity to a number: `250m` or `1` to cores, `64Mi` to bytes.
fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let units = [
        ("m", 1e-3),
        ("", 1.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
    ];
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, size) = units.into_iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<f64>().ok()? * size)
}
