//! Rules for stores in a file: one process at a time, on a volume that outlives the pod.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Workload;
use super::scaling::Autoscaler;
use crate::binary::Inputs;
use crate::fault::Faults;
use crate::render::Overlay;

/// A setting that contains the URL of an SQLite database.
pub(super) struct StoreFile {
    /// The setting's key, such as `database.url`.
    pub(super) key: String,
    /// The database's path, such as `/data/orders.db`; empty for a database in memory.
    path: String,
}

pub(super) fn check(overlay: &Overlay, workloads: &[Workload<'_>], faults: &mut Faults) {
    for workload in workloads {
        if let Some(file) = &workload.sqlite {
            alone(overlay, workload, file, faults);
            kept(workload, file, faults);
        }
    }
}

/// Only one pod may run at a time, also during a rollout.
fn alone(overlay: &Overlay, workload: &Workload<'_>, file: &StoreFile, faults: &mut Faults) {
    let key = &file.key;
    let deployment = workload.deployment;
    let replicas = deployment.at("/spec/replicas").as_u64().unwrap_or(1);
    if replicas > 1 {
        faults.add(
            workload.file(),
            "spec.replicas",
            format!("is {replicas}, and {key} is an SQLite file, which supports one process only"),
            "set it to 1, or use PostgreSQL",
        );
    }
    for autoscaler in Autoscaler::all(overlay) {
        if autoscaler.steers(workload) && autoscaler.most > 1 {
            let [_, most] = autoscaler.bounds;
            faults.add(
                &autoscaler.resource.file,
                format!("spec.{most}"),
                format!(
                    "is {}, and {key} is an SQLite file, which supports one process only",
                    autoscaler.most
                ),
                "remove the components hpa and keda, or use PostgreSQL",
            );
        }
    }
    let strategy = deployment.at("/spec/strategy");
    let surge = &strategy["rollingUpdate"]["maxSurge"];
    if strategy["type"] != "Recreate" && *surge != json!(0) && *surge != json!("0%") {
        faults.add(
            workload.file(),
            "spec.strategy.type",
            format!(
                "a rollout starts the new pod beside the old one, which has the file of {key} open"
            ),
            "set type Recreate, without rollingUpdate",
        );
    }
}

/// The file must be neither in the container's file system nor in a volume that is deleted with the pod.
fn kept(workload: &Workload<'_>, file: &StoreFile, faults: &mut Faults) {
    let (key, path) = (&file.key, &file.path);
    let mounts = workload.container["volumeMounts"].as_array();
    let mount = mounts.into_iter().flatten().find(|mount| {
        let folder = mount["mountPath"].as_str().unwrap_or_default();
        let rest = path.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.starts_with('/'))
    });
    let volumes = workload.deployment.list("/spec/template/spec/volumes");
    let volume = volumes
        .iter()
        .find(|volume| mount.is_some_and(|mount| mount["name"] == volume["name"]));
    let lasting = ["persistentVolumeClaim", "hostPath", "csi", "nfs", "iscsi"];
    if !volume.is_some_and(|volume| lasting.iter().any(|kind| !volume[*kind].is_null())) {
        faults.add(
            workload.file(),
            workload.field(".volumeMounts"),
            format!("{key} names {path:?}, which is on no volume that outlives the pod"),
            "mount a persistentVolumeClaim at its folder, or name a file in one that is mounted",
        );
    }
}

// === impl StoreFile ===

impl StoreFile {
    /// Reads the effective value from configuration files, secret files and variables, because the binary does not
    /// print URLs.
    pub(super) fn named_by(inputs: &Inputs) -> Option<Self> {
        let mut settings = BTreeMap::new();
        let environment = inputs.env.get("RUN_ENV").map_or("dev", String::as_str);
        for name in ["default", environment] {
            let text = inputs.config.get(&format!("{name}.toml"));
            let text = text.and_then(|text| std::str::from_utf8(text).ok());
            if let Some(table) = text.and_then(|text| toml::from_str::<Value>(text).ok()) {
                flatten("", &table, &mut settings);
            }
        }
        for (name, value) in &inputs.secrets {
            let value = String::from_utf8_lossy(value).trim_end().to_owned();
            settings.insert(key(name), value);
        }
        // Plain variables first, because `APP__` overrides them.
        for prefixed in [false, true] {
            for (name, value) in &inputs.env {
                if name.starts_with("APP__") == prefixed {
                    settings.insert(key(name.trim_start_matches("APP__")), value.clone());
                }
            }
        }
        settings.into_iter().find_map(|(key, value)| {
            let path = value.strip_prefix("sqlite:")?;
            let path = path.trim_start_matches("//");
            let path = path.split('?').next().unwrap_or_default();
            let path = path.trim_start_matches(":memory:").to_owned();
            Some(Self { key, path })
        })
    }
}

/// The key that a secret file or a variable sets.
fn key(name: &str) -> String {
    let key = name.to_lowercase().replace("__", ".");
    match key.replace('_', "-").as_str() {
        "database-url" => "database.url".to_owned(),
        "redis-url" => "redis.url".to_owned(),
        _ => key,
    }
}

fn flatten(above: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let dot = if above.is_empty() { "" } else { "." };
                flatten(&format!("{above}{dot}{key}"), value, into);
            }
        }
        Value::String(text) => {
            into.insert(above.to_owned(), text.clone());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::StoreFile;
    use crate::binary::Inputs;

    fn file(config: &[(&str, &str)], secrets: &[(&str, &str)], env: &[(&str, &str)]) -> String {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
                .collect()
        };
        let env = env.iter();
        let inputs = Inputs {
            config: owned(config),
            secrets: owned(secrets),
            env: env
                .map(|(name, text)| (name.to_string(), text.to_string()))
                .collect(),
        };
        StoreFile::named_by(&inputs).map_or("none".to_owned(), |file| {
            format!("{} {}", file.key, file.path)
        })
    }

    #[test]
    fn the_last_layer_decides_whether_a_database_is_a_file() {
        let default = (
            "default.toml",
            "[database]\nurl = \"sqlite:/data/a.db?mode=rwc\"",
        );
        let production = (
            "production.toml",
            "[database]\nurl = \"postgres://a:b@c/d\"",
        );
        assert_eq!(file(&[default], &[], &[]), "database.url /data/a.db");
        assert_eq!(
            file(&[default, production], &[], &[]),
            "database.url /data/a.db"
        );
        let env = ("RUN_ENV", "production");
        assert_eq!(file(&[default, production], &[], &[env]), "none");
        let secret = ("database-url", "postgres://a:b@c/d\n");
        assert_eq!(file(&[default], &[secret], &[]), "none");
        let plain = ("DATABASE_URL", "sqlite:///data/b.db");
        assert_eq!(
            file(&[default], &[secret], &[plain]),
            "database.url /data/b.db"
        );
        let prefixed = ("APP__DATABASE__URL", "postgres://a:b@c/d");
        assert_eq!(file(&[], &[], &[plain, prefixed]), "none");
        let ledger = ("ledger.url", "sqlite::memory:");
        assert_eq!(file(&[], &[ledger], &[]), "ledger.url ");
    }
}
