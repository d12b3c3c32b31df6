//! Test databases without a server. Those of a generated service are tested in tests/e2e.

#![cfg(feature = "testing")]

use std::panic::catch_unwind;

use axum_chassis_sqlx::testing::Database;

/// The panic's message.
fn panic_of(server: &'static str) -> String {
    let panic = catch_unwind(|| Database::create(server)).expect_err("there is none");
    let words = panic.downcast_ref::<String>().cloned();
    words.unwrap_or_else(|| panic.downcast_ref::<&str>().expect("its words").to_string())
}

#[test]
fn an_unavailable_server_is_reported_with_its_address_and_the_variable_that_changes_it() {
    let said = panic_of("postgres://me:s3cret@127.0.0.1:1/orders");
    for part in ["127.0.0.1:1", "DATABASE_URL", "refused"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn an_invalid_url_is_reported_without_its_text() {
    let said = panic_of("s3cret");
    assert!(
        said.contains("DATABASE_URL") && !said.contains("s3cret"),
        "{said}"
    );
}
