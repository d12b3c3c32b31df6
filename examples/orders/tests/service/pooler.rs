//! PgBouncer between the service and its database, with the same settings as without.

use stores::{Load, PgBouncer, Postgres};

use crate::{acknowledged, program, run, take};

const WARNING: &str = "statements have no time limit";

/// Orders are taken and found, and statements have an end or a warning.
fn works_in(mode: &str) {
    let postgres = Postgres::start();
    let direct = program().variable("DATABASE_URL", postgres.url());
    run(direct, "migrate");
    let pooler = PgBouncer::start(&postgres, mode);
    let program = program()
        .variable("DATABASE_URL", pooler.url(&postgres))
        .set("database.statement_timeout", "200ms");

    let service = program.clone().start();
    let main = service.main().address();
    let load = Load::start(8, move |number| take(main, number));
    load.wait_for(300, 201);
    let asked = load.finish();
    let failed = asked.iter().filter(|one| one.status() != 201);
    assert_eq!(failed.count(), 0);
    acknowledged(&asked, &postgres.query("SELECT reference FROM orders"));
    let said = service.stop().stdout;
    assert!(said.contains(WARNING), "{said}");

    // What the warning says.
    postgres.query("ALTER ROLE orders SET statement_timeout = '200ms'");
    let pooler = PgBouncer::start(&postgres, mode);
    let service = program
        .variable("DATABASE_URL", pooler.url(&postgres))
        .start();
    let held = postgres.lock_orders();
    let answer = take(service.main().address(), 1_000_000).expect("an answer");
    assert!(answer.is_unavailable(), "{answer:?}");
    drop(held);
    let said = service.stop().stdout;
    assert!(!said.contains(WARNING), "{said}");
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn pgbouncer_in_session_mode_needs_no_settings() {
    works_in("session");
}

mod nightly {
    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL and PgBouncer 1.21 or later"]
    fn pgbouncer_in_transaction_mode_needs_no_settings() {
        PgBouncer::needs_prepared_statements();
        works_in("transaction");
    }
}
