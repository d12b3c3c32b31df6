//! The databases that tests make, where there is no server; those of a generated service's tests are seen in tests/e2e.

#![cfg(feature = "testing")]

use std::panic::catch_unwind;

use axum_chassis_sqlx::testing::Database;

/// What it says when it fails.
fn panic_of(server: &'static str) -> String {
    let panic = catch_unwind(|| Database::create(server)).expect_err("there is none");
    let words = panic.downcast_ref::<String>().cloned();
    words.unwrap_or_else(|| panic.downcast_ref::<&str>().expect("its words").to_string())
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_place_and_what_names_another() {
    let said = panic_of("postgres://me:s3cret@127.0.0.1:1/orders");
    for part in ["127.0.0.1:1", "DATABASE_URL", "refused"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn what_is_no_url_is_told_without_its_words() {
    let said = panic_of("s3cret");
    assert!(
        said.contains("DATABASE_URL") && !said.contains("s3cret"),
        "{said}"
    );
}
