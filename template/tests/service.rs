//! Starts the real binary, asks it, and stops it as Kubernetes would.

use axum_chassis::testing::Program;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_{{package}}");

#[test]
fn it_becomes_ready_answers_counts_and_stops_in_order() {
    let service = Program::new(BINARY).start();

    let greeting = service.get("/");
    assert_eq!(greeting.status, 200);
    assert!(greeting.text().contains(env!("CARGO_PKG_NAME")));

    let order = json!({ "item": "tea", "quantity": 2 });
    assert_eq!(service.post("/orders", order).status, 201);
    assert_eq!(service.get("/orders/1").json()["item"], "tea");
    assert_eq!(service.get("/orders/2").status, 404);

    assert_eq!(service.get("/health/liveness").status, 200);
    let metrics = service.admin().get("/metrics");
    for part in ["orders_created_total 1", r#"http_route="/orders/{id}""#] {
        assert!(metrics.text().contains(part), "{part}: {}", metrics.text());
    }

    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stopped()["cut"], 0);
}

#[test]
fn wrong_settings_end_it_before_it_starts() {
    let ended = Program::new(BINARY)
        .set("store.capacity", 0)
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("store.capacity"), "{}", ended.stderr);
}

/// Editors complete and check `config/*.toml` by it. Written here, so that it is never stale.
#[test]
fn the_schema_of_the_settings_is_current() {
    let schema = Program::new(BINARY)
        .argument("--config-schema")
        .output()
        .stdout;
    serde_json::from_str::<Value>(&schema).expect("a JSON schema");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/schema.json");
    if std::fs::read_to_string(file).ok().as_ref() != Some(&schema) {
        std::fs::write(file, schema).expect("a place for the schema");
    }
}
