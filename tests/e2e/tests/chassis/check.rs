//! Warnings of `cargo chassis check` on a changed service.

use std::fs;

use e2e::{edit, root, said};
use serde_json::{Value, json};

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::{TARGET, chassis};

#[test]
fn check_warns_about_settings_that_should_be_secrets_and_files_that_are_not_settings() {
    let place = tempfile::tempdir().expect("a folder");
    let name = "checked-orders";
    generate(
        &root().join("template"),
        place.path(),
        name,
        &["chassis=registry"],
    );
    let service = Generated::from_registry(place.path().join(name));
    service.takes_the_versions_of_this_checkout();
    let settings = service.folder.join("src/settings.rs");
    edit(
        &settings,
        "impl Validate for Settings",
        "/// Of the message queue.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Mq {
    api_key: String,
    url: String,
    retries: u8,
}

impl Validate for Settings",
    );
    edit(
        &settings,
        "pub(crate) store: store::Settings,",
        "pub(crate) store: store::Settings,\n    pub(crate) mq: Mq,",
    );
    let config = service.folder.join("config/production.toml");
    let text = fs::read_to_string(&config).expect("a file");
    let url = "[mq]\nurl = \"amqp://svc:hunter2@mq/\"\n";
    fs::write(&config, format!("{text}\n{url}")).expect("written");
    service.compiles();

    let mut check = chassis(&service.folder);
    let binary = TARGET.join("debug").join(name);
    check.arg("check").arg("--binary").arg(binary);
    let found = said(&mut check, 0);
    for expected in [
        "warning: src/settings.rs: mq.api_key\n    redacted because their names look like secrets",
        "warning: src/settings.rs: mq.url\n    contains a user or a password",
        "faults: 0, warnings: 2",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    assert!(!found.contains("hunter2"), "{found}");

    let output = check.arg("--json").output().expect("the tool");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["faults"], json!([]));
    let warnings = report["warnings"].as_array().expect("a list").iter();
    let mut fields: Vec<_> = warnings.map(|warning| &warning["field"]).collect();
    fields.sort_by_key(|field| field.to_string());
    assert_eq!(fields, ["mq.api_key", "mq.url"]);
}
