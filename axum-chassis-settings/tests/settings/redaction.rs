//! Values that look like secrets are redacted, whatever their type.

use std::collections::BTreeMap;

use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{Duration, Secret, Sources, Validate, load, schema};
use serde::{Deserialize, Serialize};

use crate::fixture::Folder;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    payment: Payment,
    auth: Auth,
    declared: Option<Secret>,
}

impl Validate for Settings {}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Payment {
    api_key: String,
    pin_token: u64,
    broker: String,
    max_tokens: u32,
    token_ttl: Duration,
    #[schemars(extend("writeOnly" = false))]
    key_prefix: String,
    headers: BTreeMap<String, String>,
    accounts: Vec<Account>,
    any: serde_json::Value,
    monkey: String,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Account {
    name: String,
    password: String,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Auth {
    issuer: String,
    enabled: bool,
    retries: u8,
}

const TOML: &str = r#"
[payment]
api_key = "hunter2"
pin_token = 4711
broker = "amqp://svc:hunter2@mq/"
max_tokens = 4096
token_ttl = "5m"
key_prefix = "orders"
headers = { Authorization = "plain", x-api-key = "hunter2" }
accounts = [{ name = "a", password = "hunter2" }]
any = { client_secret = "hunter2", url = "https://u:hunter2@h/", ok = 1 }
monkey = "shown"

[auth]
issuer = "hunter2"
enabled = true
retries = 3
"#;

fn sources(toml: &str) -> (Folder, Sources) {
    let folder = Folder::new();
    folder.write("default.toml", toml);
    let sources = Sources::empty().with_config_dir(folder.path());
    (folder, sources)
}

#[test]
fn values_with_the_name_of_a_secret_and_userinfo_are_never_shown() {
    let (_folder, sources) = sources(TOML);
    let loaded = load::<(), Settings>(&sources).unwrap();
    let effective = loaded.effective;
    for shown in [
        effective.to_toml(),
        effective.to_json().to_string(),
        format!("{effective:?}"),
    ] {
        for secret in ["hunter2", "4711"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let json = effective.to_json();
    let payment = &json["settings"]["payment"];
    let expected = serde_json::json!({
        "api_key": "[redacted]",
        "pin_token": "[redacted]",
        "broker": "amqp://[redacted]@mq/",
        "max_tokens": 4096,
        "token_ttl": "5m",
        "key_prefix": "orders",
        "headers": { "Authorization": "plain", "x-api-key": "[redacted]" },
        "accounts": [{ "name": "a", "password": "[redacted]" }],
        "any": { "client_secret": "[redacted]", "url": "https://[redacted]@h/", "ok": 1 },
        "monkey": "shown",
    });
    assert_eq!(*payment, expected);
    let auth = serde_json::json!({ "issuer": "[redacted]", "enabled": true, "retries": 3 });
    assert_eq!(json["settings"]["auth"], auth);
}

#[test]
fn a_redacted_value_that_changes_is_a_change() {
    let effective = |toml: &str| {
        let (_folder, sources) = sources(toml);
        load::<(), Settings>(&sources).unwrap().effective
    };
    let before = effective(TOML);
    assert_eq!(before.diff(&effective(TOML)), [""; 0]);
    let after = effective(&TOML.replace("svc:hunter2", "svc:hunter3"));
    assert_eq!(before.diff(&after), ["payment.broker"]);
    let after = effective(&TOML.replace("api_key = \"hunter2\"", "api_key = \"hunter3\""));
    assert_eq!(before.diff(&after), ["payment.api_key"]);
}

#[test]
fn one_warning_names_the_fields_that_should_be_secrets_and_so_does_the_schema() {
    let (_folder, sources) = sources(TOML);
    let loaded = load::<(), Settings>(&sources).unwrap();
    let warnings: Vec<String> = loaded
        .effective
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "auth.issuer, payment.accounts.password, payment.any, payment.api_key, payment.broker, payment.headers.x-api-key, \
             payment.pin_token: redacted because their names look like secrets: make them `Secret`, or \
             `#[schemars(extend(\"writeOnly\" = false))]` if they may be shown"
        ]
    );
    assert_eq!(
        schema::<(), Settings>()["x-undeclared-secrets"],
        serde_json::json!([
            "auth.issuer",
            "payment.accounts.password",
            "payment.api_key",
            "payment.pin_token"
        ])
    );
}

#[test]
fn a_wrong_value_with_the_name_of_a_secret_is_not_quoted_and_neither_is_userinfo() {
    let (_folder, sources) = sources(
        "[payment]\napi_key = 4711\npin_token = 'hunter2'\nmax_tokens = 'amqp://u:hunter2@h'\n",
    );
    let Err(invalid) = load::<(), Settings>(&sources) else {
        panic!("it is wrong")
    };
    let faults: Vec<&str> = invalid
        .faults()
        .iter()
        .map(|fault| fault.message.as_str())
        .collect();
    assert_eq!(
        faults,
        [
            "invalid value (number of 4 characters), expected a string",
            "invalid value \"amqp://[redacted]@h\", expected a whole number from 0 to 4294967295",
            "invalid value (text of 7 characters), expected a whole number, at least 0",
        ]
    );
}

#[test]
fn secret_files_that_cannot_be_settings_are_ignored_with_a_warning() {
    let secrets = Folder::new();
    for name in ["ca.crt", "tls/server.pem", "google/key.json"] {
        secrets.write(name, "hunter2");
    }
    // Neither are they read: a key store is not text.
    secrets.write("keystore.p12", b"\xff\xfe");
    secrets.write("declared", "hunter2");
    let sources = Sources::empty().with_secrets_dir(secrets.path());
    let loaded = load::<(), Settings>(&sources).unwrap();
    assert_eq!(loaded.service.declared.unwrap().expose(), "hunter2");
    let warnings = loaded.effective.warnings().iter().map(ToString::to_string);
    let ignored: Vec<String> = warnings
        .filter(|line| line.starts_with("secret file"))
        .collect();
    let folder = secrets.path().display();
    let expected = [
        "ca.crt",
        "google/key.json",
        "keystore.p12",
        "tls/server.pem",
    ]
    .map(|name| format!("secret file {folder}/{name}: ignored, because its name is not a setting"));
    assert_eq!(ignored, expected);

    // A name in a section, with the spelling of a key or of a variable is taken for a misspelled setting.
    for name in [
        "payment.apikey",
        "paymnt.api_key",
        "APP__TLS__CERTIFICATE",
        "redis-url",
    ] {
        let secrets = Folder::new();
        secrets.write(name, "hunter2");
        let sources = Sources::empty().with_secrets_dir(secrets.path());
        assert!(load::<(), Settings>(&sources).is_err(), "{name}");
    }
}

#[test]
fn a_run_env_without_a_file_is_logged_if_others_have_one() {
    let warnings = |run_env: &str, files: &[&str]| {
        let folder = Folder::new();
        for file in files {
            folder.write(file, "");
        }
        let sources = Sources::empty()
            .with_config_dir(folder.path())
            .with_run_env(run_env);
        let loaded = load::<(), Settings>(&sources).unwrap();
        let warnings = loaded.effective.warnings().iter().map(ToString::to_string);
        warnings
            .filter(|warning| warning.starts_with("environment variable"))
            .collect::<Vec<_>>()
    };
    let files = ["default.toml", "production.toml", "dev.toml"];
    assert_eq!(
        warnings("prodcution", &files),
        [
            "environment variable RUN_ENV: no file prodcution.toml, found dev.toml, production.toml; did you mean `production`?"
        ]
    );
    assert_eq!(
        warnings("eu", &files),
        ["environment variable RUN_ENV: no file eu.toml, found dev.toml, production.toml"]
    );
    assert_eq!(warnings("production", &files), [""; 0]);
    assert_eq!(warnings("eu", &["default.toml"]), [""; 0]);
    assert_eq!(warnings("dev", &["production.toml"]), [""; 0]);
}
