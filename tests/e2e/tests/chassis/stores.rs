//! A service with every option, in the folder that its owner gets it in, with its crates vendored. Those with fewer,
//! `cargo xtask matrix` tries.

use e2e::said;
use stores::{Postgres, Redis};

use crate::generated_service::Generated;
use crate::tool::chassis;

const EVERYTHING: [&str; 4] = ["database=postgres", "redis=yes", "openapi=yes", "otlp=yes"];

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_service_with_every_option_passes_its_tests() {
    let place = tempfile::tempdir().expect("a folder");
    let mut new = chassis(place.path());
    new.args(["new", "on_servers"]);
    new.args(EVERYTHING.iter().flat_map(|answer| ["-d", answer]));
    let said = said(new.env("CARGO", "true"), 0);
    let first =
        "docker compose up --detach --wait postgres redis && cargo run -- migrate && cargo run";
    assert!(said.contains(first), "{said}");

    let (postgres, redis) = (Postgres::start(), Redis::start());
    let mut service = Generated::at(place.path().join("on_servers"));
    service.takes_the_versions_of_this_checkout();
    service.stores = vec![("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
    service.keeps_its_promises("on_servers");
    // Each test made a database of its own, and none is left.
    let left = postgres.query("SELECT datname FROM pg_database WHERE datname LIKE 'test%'");
    assert!(left.is_empty(), "{left:?}");
}
