//! Runs PostgreSQL migrations while the service keeps serving requests.

use std::error::Error;
use std::time::Duration;

use anyhow::Context;
use axum_chassis::Chassis;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::time::{Instant, sleep};

use super::error::without_causes;
use super::probe::{Probe, Ways};
use super::{read, upkeep::Upkeep};
use crate::Settings;
use crate::open::wait;

/// The number of attempts to apply a migration that does not get its lock.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause between attempts to take the lock that prevents concurrent migrations.
const TURN: Duration = Duration::from_millis(250);
const REMINDER: Duration = Duration::from_secs(30);

/// A setting that marks direct connections. A connection without it goes through a pooler, which did not forward it.
const MARK: &str = "axum_chassis.direct";

/// Waits until the database is available, and applies pending migrations.
///
/// The service can keep running. If a migration does not get its lock within half of `acquire_timeout`, it is rolled
/// back and retried with exponential backoff, with ten attempts in all. Requests that wait for the same lock are
/// therefore delayed, but do not fail. Migrations without a transaction, such as `CREATE INDEX CONCURRENTLY`, block no
/// requests and have no such limit. The role's `statement_timeout` does not apply to migrations.
///
/// Only one migration runs at a time, including those that sqlx's own command runs. While this call waits for another
/// migration, it logs that.
///
/// `name` is the key in the service's settings, such as `database`.
///
/// # Errors
/// If the URL is not a PostgreSQL URL, if the database is not available within `service.start_timeout`, and if a
/// migration fails or was changed after it was applied.
pub async fn migrate<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
    mut migrator: Migrator,
) -> anyhow::Result<()> {
    let url = read(name, settings)?;
    let plain = url.options(name);
    let marked = [(MARK, "on"), ("statement_timeout", "0")];
    let ways = Ways {
        full: plain.clone().options(marked),
        plain,
        timeout: None,
        needs_writes: true,
    };
    let probe = Probe::new(ways, Upkeep::default());
    wait(chassis, name, settings, &probe).await?;
    let mut turn = probe.connect().await?;
    let mut connection = probe.connect().await?;
    // sqlx's own lock belongs to a session, and a pooler shares sessions between its clients. Also, a session that
    // waits for the lock in a query blocks CREATE INDEX CONCURRENTLY.
    migrator.set_locking(false);
    take_turn(&mut turn).await?;
    warn_of_invalid_indexes(&mut connection).await?;

    let sql = format!("SELECT coalesce(current_setting('{MARK}', true), '') = 'on'");
    let row = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await?;
    let is_direct: bool = row.try_get(0)?;
    if !is_direct {
        tracing::warn!(
            database = name,
            "migrations run through a pooler and wait for locks without a limit: give `{name}.url` of the \
             database itself"
        );
    }
    let limit = *settings.acquire_timeout / 2;
    for migration in migrator
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
    {
        if is_direct {
            let limit = if migration.no_tx {
                0
            } else {
                limit.as_millis()
            };
            let sql = format!("SET lock_timeout = {limit}");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await?;
        }
        let applied = apply(&migrator, migration.version, &mut connection).await;
        applied.map_err(|error| match error {
            MigrateError::ExecuteMigration(error, version) => {
                without_causes(&error).context(format!("migration {version}"))
            }
            error => error.into(),
        })?;
    }
    // Closing the connection ends the transaction and releases the lock.
    let _ = turn.close().await;
    Ok(())
}

/// Applies the pending migrations up to this version.
async fn apply(
    migrator: &Migrator,
    version: i64,
    connection: &mut PgConnection,
) -> Result<(), MigrateError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match migrator.run_to(version, &mut *connection).await {
            Err(error) if is_lock_timeout(&error) => {
                tracing::warn!(
                    version,
                    ?pause,
                    "retrying a migration that did not get its lock"
                );
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
    migrator.run_to(version, connection).await
}

fn is_lock_timeout(error: &MigrateError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(error)) = error.downcast_ref() {
            return error.code().as_deref() == Some("55P03");
        }
        cause = error.source();
    }
    false
}

/// Waits until no other migration runs. The lock belongs to an open transaction, so it is exclusive even if a pooler
/// shares sessions.
async fn take_turn(connection: &mut PgConnection) -> anyhow::Result<()> {
    let row = sqlx::raw_sql("SELECT current_database()")
        .fetch_one(&mut *connection)
        .await?;
    let key = lock_of(row.try_get(0)?);
    let begun = Instant::now();
    let mut told = None::<Instant>;
    loop {
        // The transaction is idle while the migrations run, so its timeouts are disabled.
        let sql = "BEGIN; SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN \
                   ('idle_in_transaction_session_timeout', 'transaction_timeout')";
        sqlx::raw_sql(sql).execute(&mut *connection).await?;
        let sql = format!("SELECT pg_try_advisory_xact_lock({key})");
        let row = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await?;
        if row.try_get(0)? {
            return Ok(());
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
        if told.is_none_or(|last| last.elapsed() > REMINDER) {
            told = Some(Instant::now());
            let waited = begun.elapsed().as_secs();
            tracing::info!(
                waited_seconds = waited,
                "waiting for another migration to end"
            );
        }
        sleep(TURN).await;
    }
}

/// The same key as sqlx's lock, so that sqlx's command waits as well.
fn lock_of(database: &str) -> i64 {
    let crc = database.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    });
    0x3d32_ad9e * i64::from(!crc)
}

/// A failed `CREATE INDEX CONCURRENTLY` leaves an invalid index, which queries cannot use and writes have to update.
async fn warn_of_invalid_indexes(connection: &mut PgConnection) -> anyhow::Result<()> {
    let sql = "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
               WHERE NOT indisvalid AND relkind = 'i'";
    let rows = sqlx::raw_sql(sql)
        .fetch_all(connection)
        .await
        .context("pg_index")?;
    for row in rows {
        let index: String = row.try_get(0)?;
        tracing::warn!(
            index,
            "invalid index, left by a failed CREATE INDEX CONCURRENTLY: unless it is being built right now, run \
             DROP INDEX CONCURRENTLY {index}, and migrate again"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_is_that_of_sqlx() {
        // CRC-32's check value.
        assert_eq!(super::lock_of("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }
}
