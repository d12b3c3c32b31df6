//! Settings: what may be written where, what it means, and what is said when it is wrong.

mod structs;

use axum_chassis::settings::{Sources, schema};
use structs::*;

#[test]
fn smoke() {
    let loaded = load_from(
        &Sources::empty()
            .with_var("PORT", "81")
            .with_var("APP__ORDERS__TAGS", "a, b")
            .with_var("APP__DATABASE__URL", "hunter2"),
    )
    .unwrap_or_else(|invalid| panic!("{invalid}"));
    println!("{}", loaded.effective.to_toml());
    println!("{:#}", loaded.effective.to_json());
    println!("{:#}", schema::<Chassis, Service>());
    let invalid = load_from(
        &Sources::empty()
            .with_var("PORT", "81x")
            .with_var("APP__SERVER_PORT", "1")
            .with_var("APP__DATABSE__URL", "hunter2")
            .with_var("APP__ORDERS__MAX", "0")
            .set("orders.peers", "a:1,[::1]:80"),
    )
    .unwrap_err();
    println!("{invalid}");
}
