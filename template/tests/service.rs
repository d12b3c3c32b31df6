//! Starts the real binary, asks it, and stops it as Kubernetes would.

use std::fs;

use axum_chassis::testing::{Program, SettingsTable};

const BINARY: &str = env!("CARGO_BIN_EXE_{{package}}");

#[test]
fn it_becomes_ready_answers_and_stops_in_order() {
    let service = Program::new(BINARY).start();

    let greeting = service.get("/");
    assert_eq!(greeting.status, 200);
    assert!(greeting.text().contains(env!("CARGO_PKG_NAME")));
    assert_eq!(service.get("/health/liveness").status, 200);

    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stopped()["cut"], 0);
}

#[test]
fn wrong_settings_end_it_before_it_starts() {
    let ended = Program::new(BINARY)
        .set("limits.body", "large")
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("limits.body"), "{}", ended.stderr);
}

/// Editors complete and check `config/*.toml` by the schema; people read the table in the README. Both are written
/// here, so that they are never stale. A README without the table's markers is left alone.
#[test]
fn what_is_said_of_the_settings_is_current() {
    let schema = Program::new(BINARY)
        .argument("--config-schema")
        .output()
        .stdout;
    let table = SettingsTable::new(&serde_json::from_str(&schema).expect("a JSON schema")).own();
    keep("config/schema.json", |_| Some(schema));
    keep("README.md", |readme| table.fill(readme));
}

/// Writes a file of this package anew, if it is not what it should be.
fn keep(file: &str, wanted: impl FnOnce(&str) -> Option<String>) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let present = fs::read_to_string(&path).unwrap_or_default();
    if let Some(wanted) = wanted(&present).filter(|wanted| *wanted != present) {
        fs::write(&path, wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}
