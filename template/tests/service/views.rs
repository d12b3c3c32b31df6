//! The views of an order, counted in Redis.

use std::process;

use serde_json::json;

use crate::program;

#[test]
fn each_view_of_an_order_is_counted() {
    let service = program().start();
    // Redis may contain data of other tests.
    let order =
        json!({ "reference": format!("V-{}", process::id()), "item": "tea", "quantity": 1 });
    let place = service
        .post("/orders", order)
        .header("location")
        .map(str::to_owned);
    let views = format!("{}/views", place.expect("where it is"));
    let [first, second] = [(); 2].map(|()| service.post(&views, "").json()["views"].as_u64());
    assert_eq!(second, first.map(|first| first + 1));
    assert_eq!(service.post("/orders/77/views", "").status, 404);
}
