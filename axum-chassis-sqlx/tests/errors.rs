//! HTTP statuses of PostgreSQL errors, with a real server.

#![cfg(feature = "postgres")]

use axum_chassis_sqlx::classify_error;
use axum_chassis_sqlx::sqlx::{self, AssertSqlSafe, Connection, PgConnection};
use stores::Postgres;

/// The status of the answer, and when to come back; a 500 is an error that means nothing else.
fn answer(error: &sqlx::Error) -> (u16, Option<String>) {
    let Some(problem) = classify_error(error) else {
        return (500, None);
    };
    let response = axum::response::IntoResponse::into_response(problem);
    let pause = response.headers().get("retry-after");
    let pause = pause.map(|pause| pause.to_str().expect("text").to_owned());
    (response.status().as_u16(), pause)
}

async fn fails(connection: &mut PgConnection, sql: &str) -> sqlx::Error {
    let failed = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    failed.map(drop).expect_err(sql)
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn each_class_of_sqlstate_maps_to_a_status() {
    let server = Postgres::start();
    let mut connection = PgConnection::connect(&server.url())
        .await
        .expect("an answer");
    let (soon, later) = (Some("1"), Some("5"));
    for (codes, status, pause) in [
        (&["23505", "23P01"][..], 409, None),
        (&["40001", "40P01", "55P03"], 503, soon),
        (&["25006", "25P03", "25P04", "3D000"], 503, later),
        (&["08000", "08003", "08006", "28000", "28P01"], 503, later),
        (&["53000", "53100", "53200", "53300", "53400"], 503, later),
        (
            &["57000", "57014", "57P01", "57P02", "57P03", "57P05"],
            503,
            later,
        ),
        (&["58000", "58030"], 503, later),
        (
            &[
                "0A000", "22012", "23502", "26000", "42601", "42P01", "P0001", "XX000",
            ],
            500,
            None,
        ),
    ] {
        for code in codes {
            let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$");
            let error = fails(&mut connection, &sql).await;
            let pause = pause.map(str::to_owned);
            assert_eq!(answer(&error), (status, pause), "{code}");
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn errors_of_the_server_itself_map_to_a_status() {
    let server = Postgres::start();
    let url = server.url();
    let mut connection = PgConnection::connect(&url).await.expect("an answer");
    server.query(
        "CREATE TABLE rooms (id int UNIQUE, during int4range, EXCLUDE USING gist (during WITH &&))",
    );
    server.query("INSERT INTO rooms VALUES (1, '[1,5)')");
    let soon = || Some("1".to_owned());
    let later = || Some("5".to_owned());
    for (sql, expected) in [
        ("INSERT INTO rooms VALUES (1, '[7,9)')", (409, None)),
        ("INSERT INTO rooms VALUES (2, '[4,6)')", (409, None)),
        (
            "SET statement_timeout = 50; SELECT pg_sleep(5)",
            (503, later()),
        ),
        ("BEGIN READ ONLY; DELETE FROM rooms", (503, later())),
        ("SELECT * FROM nowhere", (500, None)),
    ] {
        let error = fails(&mut connection, sql).await;
        assert_eq!(answer(&error), expected, "{sql}: {error}");
        sqlx::raw_sql("ROLLBACK; RESET statement_timeout")
            .execute(&mut connection)
            .await
            .expect("an answer");
    }

    let mut other = PgConnection::connect(&url).await.expect("an answer");
    sqlx::raw_sql("BEGIN; LOCK TABLE rooms")
        .execute(&mut other)
        .await
        .expect("a lock");
    let error = fails(
        &mut connection,
        "SET lock_timeout = 50; SELECT count(*) FROM rooms",
    )
    .await;
    assert_eq!(answer(&error), (503, soon()), "{error}");
    drop(other);

    let prepared = "SELECT * FROM rooms";
    sqlx::query(prepared)
        .execute(&mut connection)
        .await
        .expect("rows");
    server.query("ALTER TABLE rooms ADD COLUMN floor int");
    let error = sqlx::query(prepared)
        .execute(&mut connection)
        .await
        .expect_err("a plan of before");
    assert_eq!(answer(&error), (503, soon()), "{error}");

    let missing = url.replace("/postgres", "/nowhere");
    let error = PgConnection::connect(&missing)
        .await
        .expect_err("no such database");
    assert_eq!(answer(&error), (503, later()), "{error}");
}
