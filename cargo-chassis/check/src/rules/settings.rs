//! Rules for settings: a pod's environment variables and files correspond to settings of the binary, and the files are
//! in the folders that the binary reads.

use serde_json::Value;

use super::Workload;
use crate::binary::Binary;
use crate::fault::{Fault, Faults};
use crate::render::{Overlay, Resource};

/// The variables that platforms set and the chassis reads.
const PLAIN: [&str; 8] = [
    "PORT",
    "RUST_LOG",
    "LOG_FORMAT",
    "DATABASE_URL",
    "REDIS_URL",
    "RUN_ENV",
    "APP_CONFIG_DIR",
    "APP_SECRETS_DIR",
];
const CONFIG: &str = "/app/config";
const SECRETS: &str = "/var/secrets";
/// The service's replacement for a secret.
const REDACTED: &str = "[redacted]";

/// Adds a fault for settings that the binary rejects. The binary's message names the key, the origin and the most
/// similar known key.
pub(super) fn refused(
    overlay: &Overlay,
    deployment: &Resource,
    complaint: &str,
    faults: &mut Faults,
) {
    // The file to edit is the source of the ConfigMap with the invalid value, or else the Deployment.
    let holder = overlay
        .of_kind("ConfigMap")
        .chain(overlay.of_kind("Secret"))
        .find(|resource| {
            let keys = resource.at("/data").as_object().into_iter().flatten();
            keys.into_iter()
                .any(|(key, _)| complaint.contains(key.as_str()))
        });
    faults.add(
        &holder.unwrap_or(deployment).file,
        "settings",
        format!(
            "the service does not start with the settings of {}:\n{complaint}",
            deployment.name()
        ),
        "correct what the lines name; the binary's --config-schema lists every setting",
    );
}

/// Warns of keys that the service redacts only because of their names.
pub(super) fn undeclared_secrets(binary: &Binary, faults: &mut Faults) {
    let keys = binary.undeclared_secrets();
    if !keys.is_empty() {
        faults.warn(
            "src/settings.rs",
            keys.join(", "),
            "redacted because their names look like secrets",
            r#"make them `Secret`, or `#[schemars(extend("writeOnly" = false))]` if they may be shown"#,
        );
    }
}

pub(super) fn check(
    overlay: &Overlay,
    workload: &Workload<'_>,
    binary: &Binary,
    faults: &mut Faults,
) {
    variables(overlay, workload, binary, faults);
    mount(workload, "configMap", "APP_CONFIG_DIR", CONFIG, faults);
    mount(workload, "secret", "APP_SECRETS_DIR", SECRETS, faults);
    secrets_by_reference(overlay, workload, binary, faults);
    values_with_passwords(&workload.settings, "", faults);
}

/// Warns of keys whose values the service redacts in part: a URL or a connection string with a password, not declared
/// as a secret.
fn values_with_passwords(settings: &Value, key: &str, faults: &mut Faults) {
    match settings {
        Value::Object(table) => {
            for (name, value) in table {
                let key = format!("{key}.{name}");
                values_with_passwords(value, key.trim_start_matches('.'), faults);
            }
        }
        Value::Array(items) => {
            for item in items {
                values_with_passwords(item, key, faults);
            }
        }
        Value::String(text) if text.contains(REDACTED) && text != REDACTED => faults.warn(
            "src/settings.rs",
            key,
            "contains a user or a password, and is not a secret",
            "make it `Secret`, and move the value to a file in /var/secrets",
        ),
        _ => {}
    }
}

/// Checks the names of all variables. `--check-config` checks only variables whose values are known, which a secret's
/// is not.
fn variables(overlay: &Overlay, workload: &Workload<'_>, binary: &Binary, faults: &mut Faults) {
    let listed = workload.container["env"].as_array().into_iter().flatten();
    let listed = listed.filter_map(|variable| variable["name"].as_str());
    for name in listed.chain(workload.inputs.env.keys().map(String::as_str)) {
        if PLAIN.contains(&name) || !name.starts_with("APP_") {
            continue;
        }
        let key = name
            .strip_prefix("APP__")
            .map(|rest| rest.replace("__", ".").to_lowercase());
        if key.is_some_and(|key| binary.knows(&key)) {
            continue;
        }
        let holder = overlay
            .of_kind("ConfigMap")
            .find(|map| map.at("/data").get(name).is_some());
        faults.add(
            holder.map_or(workload.file(), |map| &map.file),
            name,
            format!("unknown setting in environment variable {name}"),
            "name it APP__SECTION__KEY after a key of --config-schema, or remove it",
        );
    }
}

fn mount(workload: &Workload<'_>, kind: &str, variable: &str, usual: &str, faults: &mut Faults) {
    let path = workload
        .inputs
        .env
        .get(variable)
        .map_or(usual, String::as_str);
    for volume in workload.deployment.list("/spec/template/spec/volumes") {
        if volume[kind].is_null() {
            continue;
        }
        let mounts = workload.container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten();
        let Some(mount) = mounts
            .into_iter()
            .find(|mount| mount["name"] == volume["name"])
        else {
            faults.add(
                workload.file(),
                workload.field(".volumeMounts"),
                format!(
                    "volume {} is not mounted, so the service does not see it",
                    volume["name"]
                ),
                format!("mount it at {path}"),
            );
            continue;
        };
        let name = volume["name"].as_str().unwrap_or_default();
        if mount["mountPath"] != path {
            faults.add(
                workload.file(),
                workload.field(&format!(".volumeMounts[{name}].mountPath")),
                format!(
                    "{} is not where the service looks, which is {path}",
                    mount["mountPath"]
                ),
                format!("mount it at {path}, or set {variable}"),
            );
        }
        if !mount["subPath"].is_null() {
            faults.add(
                workload.file(),
                workload.field(&format!(".volumeMounts[{name}].subPath")),
                "a file mounted by subPath never changes, so the service cannot reload it",
                "mount the whole volume",
            );
        }
    }
}

/// The keys that an ExternalSecret adds to the mounted Secret must be settings too.
fn secrets_by_reference(
    overlay: &Overlay,
    workload: &Workload<'_>,
    binary: &Binary,
    faults: &mut Faults,
) {
    let volumes = workload.deployment.list("/spec/template/spec/volumes");
    for secret in overlay.of_kind("ExternalSecret") {
        let target = secret.at("/spec/target/name");
        if !volumes
            .iter()
            .any(|volume| !target.is_null() && volume["secret"]["secretName"] == *target)
        {
            continue;
        }
        for entry in secret.list("/spec/data") {
            let file = entry["secretKey"].as_str().unwrap_or_default();
            let plain = file.to_uppercase().replace('-', "_");
            if !PLAIN.contains(&plain.as_str()) && !binary.knows(&file.replace("__", ".")) {
                // This matches the service, which ignores a file that is in no section and not similar to a key.
                let section = file.split(['.', '/']).next().unwrap_or(file);
                let is_ignored = !binary.knows(&section.replace("__", "."));
                let problem = match is_ignored {
                    true => {
                        "not the name of a setting: it is ignored, or an error if it looks like one"
                    }
                    false => "unknown setting: the service does not start",
                };
                faults.tell(Fault {
                    file: secret.file.clone(),
                    field: format!("spec.data[{file}].secretKey"),
                    problem: problem.into(),
                    remedy: "name the file after a key of --config-schema, such as admin.token"
                        .into(),
                    overlays: Vec::new(),
                    warning: is_ignored,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{quantity, seconds};
    use super::*;
    use serde_json::json;

    #[test]
    fn partly_redacted_values_are_reported_by_key() {
        let settings = json!({
            "mq": { "urls": ["amqp://[redacted]@one", "amqp://[redacted]@two"], "token": "[redacted]" },
            "home": "https://example.org/",
            "store": "host=db password=[redacted]",
        });
        let mut faults = Faults::default();
        values_with_passwords(&settings, "", &mut faults);
        let faults = faults.into_vec();
        let fields: Vec<_> = faults.iter().map(|fault| &fault.field).collect();
        assert_eq!(fields, ["mq.urls", "store"]);
    }

    #[test]
    fn durations_and_quantities_are_parsed_in_their_own_formats() {
        assert_eq!(seconds("25s"), Some(25.0));
        assert_eq!(seconds("1500ms"), Some(1.5));
        assert_eq!(seconds("soon"), None);
        assert_eq!(quantity(&json!("250m")), Some(0.25));
        assert_eq!(quantity(&json!(2)), Some(2.0));
        assert_eq!(quantity(&json!("64Mi")), Some(67_108_864.0));
    }
}
