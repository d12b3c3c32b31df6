//! The store, in memory.

use serde_json::json;

use crate::program;

#[test]
fn a_full_store_rejects_orders() {
    let service = program()
        .set("store.capacity", 1)
        .set("health.interval", "50ms")
        .start();
    let order = |reference| json!({ "reference": reference, "item": "tea", "quantity": 1 });
    assert_eq!(service.post("/orders", order("A-1")).status, 201);
    let refused = service.post("/orders", order("A-2"));
    assert_eq!(refused.status, 507);
    assert_eq!(refused.json()["detail"], "all 1 places are taken");
    // Other clients can still read: a full store does not make the service unavailable.
    service.wait_for_message("readiness check is down");
    assert_eq!(service.admin().get("/health/readiness").status, 200);
}

#[test]
fn a_store_without_capacity_is_rejected_before_the_start() {
    let ended = program()
        .set("store.capacity", 0)
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("store.capacity"), "{}", ended.stderr);
}
