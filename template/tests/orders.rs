//! Orders, as the real binary takes them.

use axum_chassis::testing::Program;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_{{package}}");

#[test]
fn an_order_is_taken_found_and_counted() {
    let service = Program::new(BINARY).start();

    let order = json!({ "item": "tea", "quantity": 2 });
    assert_eq!(service.post("/orders", order).status, 201);
    assert_eq!(service.get("/orders/1").json()["item"], "tea");
    assert_eq!(service.get("/orders/2").status, 404);

    let metrics = service.admin().get("/metrics");
    for part in ["orders_created_total 1", r#"http_route="/orders/{id}""#] {
        assert!(metrics.text().contains(part), "{part}: {}", metrics.text());
    }
}

#[test]
fn a_store_without_room_is_refused_before_the_start() {
    let ended = Program::new(BINARY)
        .set("store.capacity", 0)
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("store.capacity"), "{}", ended.stderr);
}
