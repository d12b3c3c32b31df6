//! Services with a store, in the folder that they are given to their owners in.

use std::path::Path;

use e2e::said;
use stores::{Postgres, Redis};

use crate::promises::Generated;
use crate::tool::chassis;

fn generate(place: &Path, name: &str, define: &[&str]) -> String {
    let mut new = chassis(place);
    new.args(["new", name]);
    new.args(define.iter().flat_map(|define| ["-d", define]));
    said(new.env("CARGO", "true"), 0)
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_service_on_postgresql_and_redis_keeps_its_promises() {
    let place = tempfile::tempdir().expect("a folder");
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let said = generate(
        place.path(),
        "on_servers",
        &["database=postgres", "redis=yes"],
    );
    let first =
        "docker compose up --detach --wait postgres redis && cargo run -- migrate && cargo run";
    assert!(said.contains(first), "{said}");

    let mut service = Generated::at(place.path().join("on_servers"));
    service.takes_the_versions_of_this_checkout();
    service.stores = vec![("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    service.keeps_its_promises("on_servers");
    // Each test made a database of its own, and none is left.
    let left = postgres.query("SELECT datname FROM pg_database WHERE datname LIKE 'test%'");
    assert!(left.is_empty(), "{left:?}");
}

/// Without a server.
#[test]
fn a_service_on_sqlite_keeps_its_promises() {
    let place = tempfile::tempdir().expect("a folder");
    let said = generate(place.path(), "on-a-file", &["database=sqlite"]);
    assert!(said.contains("cd on-a-file && cargo run"), "{said}");

    let mut service = Generated::at(place.path().join("on-a-file"));
    service.takes_the_versions_of_this_checkout();
    let file = place.path().join("kept.db");
    service.stores = vec![("DATABASE_URL", format!("sqlite:{}", file.display()))];
    service.keeps_its_promises("on-a-file");
    assert!(file.exists());
}
