//! The store, in its database.

use serde_json::json;

use crate::program;

#[test]
fn an_order_survives_a_restart() {
    let program = program();
    let service = program.clone().start();
    let order = json!({ "reference": "A-1", "item": "tea", "quantity": 2 });
    let taken = service.post("/orders", &order);
    assert_eq!(taken.status, 201);
    assert_eq!(service.stop().code, Some(0));

    let service = program.start();
    assert_eq!(service.get("/orders/1").json(), taken.json());
    assert_eq!(service.post("/orders", order).status, 200);
}

#[test]
fn an_invalid_database_url_is_rejected_before_the_start() {
    let ended = program()
        .variable("DATABASE_URL", "nowhere")
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("database.url"), "{}", ended.stderr);
}
