//! Starts the real binary, sends requests, and stops it with SIGTERM, like an orchestrator.

#[cfg(feature = "auth")]
mod caller;
#[cfg(feature = "openapi")]
mod openapi;
#[cfg(feature = "example")]
mod orders;
#[cfg(feature = "example")]
#[cfg_attr(feature = "database", path = "store.sqlx.rs")]
mod store;
#[cfg(all(feature = "example", feature = "redis"))]
mod views;

#[cfg(feature = "redis")]
use std::env;
use std::fs;

#[cfg(feature = "postgres")]
use axum_chassis_sqlx::testing::Database;
use axum_chassis_testing::{Program, SettingsTable};

const BINARY: &str = env!("CARGO_BIN_EXE_template-service");

#[cfg(all(
    not(feature = "database"),
    not(feature = "redis"),
    not(feature = "auth")
))]
/// The service, on free ports.
fn program() -> Program {
    Program::new(BINARY)
}

#[cfg(all(not(feature = "database"), feature = "redis", not(feature = "auth")))]
/// The service, on free ports.
fn program() -> Program {
    Program::new(BINARY).variable("REDIS_URL", redis())
}

#[cfg(all(not(feature = "database"), feature = "auth"))]
/// The service, on free ports and with tokens for tests.
fn program() -> Program {
    let program = Program::new(BINARY);
    #[cfg(feature = "redis")]
    let program = program.variable("REDIS_URL", redis());
    caller::with_token(program)
}

#[cfg(all(feature = "database", not(feature = "postgres")))]
/// The service, on free ports and with a database file of its own.
fn program() -> Program {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/test.db", folder.path().display());
    let program = Program::new(BINARY);
    #[cfg(feature = "redis")]
    let program = program.variable("REDIS_URL", redis());
    #[cfg(feature = "auth")]
    let program = caller::with_token(program);
    program.variable("DATABASE_URL", url).keep(folder)
}

#[cfg(feature = "postgres")]
/// The service, on free ports and with a database of its own. The PostgreSQL server is the one in DATABASE_URL; the
/// default is one on this machine.
fn program() -> Program {
    let name = "template_service";
    let server = format!("postgres://{name}:{name}@localhost:5432/{name}");
    let database = Database::create(&server);
    let program = Program::new(BINARY)
        .variable("DATABASE_URL", database.url())
        .keep(database);
    #[cfg(feature = "redis")]
    let program = program.variable("REDIS_URL", redis());
    #[cfg(feature = "auth")]
    let program = caller::with_token(program);
    let migrated = program.clone().argument("migrate").output();
    assert_eq!(migrated.code, Some(0), "{}", migrated.stdout);
    program
}

#[cfg(feature = "redis")]
/// The Redis in REDIS_URL. The default is one on this machine.
fn redis() -> String {
    env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned())
}

#[test]
fn it_becomes_ready_serves_and_shuts_down_gracefully() {
    let service = program().start();

    let greeting = service.get("/");
    assert_eq!(greeting.status, 200);
    assert!(greeting.text().contains(env!("CARGO_PKG_NAME")));
    assert_eq!(service.get("/health/liveness").status, 200);

    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stopped()["aborted"], 0);
}

#[test]
fn invalid_settings_end_it_before_it_starts() {
    let ended = Program::new(BINARY)
        .set("limits.body", "large")
        .argument("--check-config")
        .output();
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("limits.body"), "{}", ended.stderr);
}

/// Editors use the schema to complete and check `config/*.toml`, and people read the table in the README. This test
/// writes both, so that they are never out of date. It does not change a README without the table's markers.
#[test]
fn the_documented_settings_are_current() {
    let schema = Program::new(BINARY)
        .argument("--config-schema")
        .output()
        .stdout;
    let table = SettingsTable::new(&serde_json::from_str(&schema).expect("a JSON schema")).own();
    #[cfg(feature = "auth")]
    let table = table.without("auth"); // the README links to their description
    keep("config/schema.json", |_| Some(schema));
    keep("README.md", |readme| table.fill(readme));
}

/// Writes a file of this package if its content has changed.
fn keep(file: &str, wanted: impl FnOnce(&str) -> Option<String>) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let present = fs::read_to_string(&path).unwrap_or_default();
    if let Some(wanted) = wanted(&present).filter(|wanted| *wanted != present) {
        fs::write(&path, wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}
