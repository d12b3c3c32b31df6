//! The service on a file of SQLite: needs no server.

use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use stores::{Load, request};

use crate::{acknowledged, order, program, run, take};

#[test]
fn a_file_locked_by_another_process_is_a_503_for_writers_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orders.db");
    let url = format!("sqlite:{}", file.display());
    let program = program()
        .variable("DATABASE_URL", &url)
        .set("database.statement_timeout", "100ms");
    run(program.clone(), "migrate");
    let service = program.clone().start();
    let main = service.main().address();
    let load = Load::start(4, move |number| take(main, number));
    load.wait_for(50, 201);

    // In this process: another one than the service's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let lock = async {
        let mut other = SqliteConnection::connect(&url).await?;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await?;
        Ok::<_, sqlx::Error>(other)
    };
    let other = runtime.block_on(lock).expect("a lock");
    load.wait_for(8, 503);
    for path in ["/", "/orders/1", "/health/liveness", "/health/readiness"] {
        let answer = request(main, "GET", path, "").expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    runtime.block_on(other.close()).expect("no lock");
    load.wait_for(50, 201);

    let asked = load.finish();
    for one in asked.iter().filter(|one| one.status() != 201) {
        let answer = one.answer.as_ref().expect("an answer");
        assert!(answer.is_unavailable(), "{answer:?}");
        assert!(one.took < Duration::from_secs(2), "{one:?}");
    }
    assert_eq!(service.stop().code, Some(0));
    let kept = async {
        let mut connection = SqliteConnection::connect(&url).await?;
        sqlx::query_scalar("SELECT reference FROM orders")
            .fetch_all(&mut connection)
            .await
    };
    let kept: Vec<String> = runtime.block_on(kept).expect("references");
    acknowledged(&asked, &kept);
}

#[test]
fn an_existing_order_is_a_409_and_a_bug_is_a_500() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program()
        .folder(folder.path())
        .variable("DATABASE_URL", "sqlite:orders.db");
    let service = program.clone().start();
    let main = service.main().address();
    let mistake = take(main, 1).expect("an answer");
    assert_eq!(mistake.status, 500, "{mistake:?}");
    assert!(!mistake.body.contains("table"), "{mistake:?}");

    run(program.clone(), "migrate");
    let first = take(main, 1).expect("an answer");
    assert_eq!((first.status, first.header("retry-after")), (201, None));
    let second = take(main, 1).expect("an answer");
    assert_eq!(second.status, 409, "{second:?}");
    let body: serde_json::Value = serde_json::from_str(&second.body).expect("JSON");
    assert_eq!(body["detail"], "there is one like it already");
    assert!(!second.body.contains("reference"), "{second:?}");

    let refused = order(main, r#"{"reference": "x", "item": "tea", "quantity": 0}"#);
    assert_eq!(refused.expect("an answer").status, 400);
    let said = service.stop().stdout;
    assert!(
        said.contains("no such table"),
        "the log has the mistake: {said}"
    );
}

#[test]
fn an_invalid_url_is_reported_before_anything_starts() {
    for (url, helps) in [
        (
            "",
            "database.url: missing, expected postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:PATH",
        ),
        (
            "mysql://orders:hunter2@db/orders",
            "database.url: unknown URL scheme `mysql`: expected postgres://",
        ),
        (
            "postgres://orders:hun/ter2@db/orders",
            "(environment variable DATABASE_URL)",
        ),
    ] {
        for arguments in [&["--check-config"] as &[_], &["migrate"], &[]] {
            let program = program().variable("DATABASE_URL", url);
            let ended = program.arguments(arguments.iter().copied()).output();
            let said = ended.stderr;
            assert_eq!(ended.code, Some(78), "{url} {arguments:?}: {said}");
            assert!(said.contains(helps), "{url} {arguments:?}: {said}");
            assert!(!said.contains("ter2"), "{url} {arguments:?}: {said}");
        }
    }
}

#[test]
fn the_documentation_has_every_setting_of_the_stores_with_its_default() {
    let page = include_str!("../../../../docs/stores.md");
    let ended = run(
        program().variable("DATABASE_URL", "sqlite::memory:"),
        "--print-config",
    );
    let stores = ["[database]", "[redis]"].map(|section| {
        let (_, rest) = ended.stdout.split_once(section).expect(section);
        (section, rest.split("\n[").next().unwrap_or(rest))
    });
    for (section, keys) in stores {
        let section = section.trim_matches(['[', ']']);
        for (key, value) in keys.lines().filter_map(|line| line.split_once(" = ")) {
            let default = value.split(" # ").next().unwrap_or(value).trim_matches('"');
            let row = match key {
                "url" => format!("| `{section}.url` | none: required |"),
                _ => format!("| `{section}.{key}` | `{default}` |"),
            };
            assert!(page.contains(&row), "docs/stores.md lacks {row}");
        }
    }
}
