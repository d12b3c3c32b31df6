//! What sqlx's errors mean to a client.

use std::error::Error;
use std::time::Duration;

use axum_chassis::Problem;
use sqlx::error::DatabaseError;

/// When to come back after something that passes by itself: a lock, a moment without a free connection.
const SOON: Duration = Duration::from_secs(1);
/// When to come back after the database was not to be had.
const LATER: Duration = Duration::from_secs(5);

/// What an error that reached the client by `?` means; `None` of what is no error of sqlx's, and of
/// what is the service's own mistake, such as a query that is none: a 500.
///
/// | error | answer |
/// |---|---|
/// | no connection was free, or could be opened, within `acquire_timeout`; deadlock, lost race of transactions, lock that was not to be had | 503, `Retry-After: 1` |
/// | no connection to be had, lost connection, database starting, stopping, read-only or full, statement that took too long | 503, `Retry-After: 5` |
/// | unique violation | 409 |
///
/// The answer holds nothing of the query: that is in the log. Registered by `postgres` and
/// `sqlite`; public for a program that renders its errors by itself.
pub fn meaning(error: &(dyn Error + 'static)) -> Option<Problem> {
    match error.downcast_ref::<sqlx::Error>()? {
        // Either all are in use, or none can be opened: sqlx does not say.
        sqlx::Error::PoolTimedOut => Some(soon("the database gave no connection in time")),
        sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed => Some(gone()),
        sqlx::Error::Database(error) if error.is_unique_violation() => {
            Some(Problem::conflict("there is one like it already"))
        }
        sqlx::Error::Database(error) => passing(&**error),
        _ => None,
    }
}

fn soon(detail: &'static str) -> Problem {
    Problem::unavailable(detail).retry_after(SOON)
}

fn gone() -> Problem {
    Problem::unavailable("the database is not available").retry_after(LATER)
}

/// What the database itself says of a state that passes.
#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    allow(unused_variables)
)]
fn passing(error: &(dyn DatabaseError + 'static)) -> Option<Problem> {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return match error.code() {
            // serialization_failure, deadlock_detected, lock_not_available
            "40001" | "40P01" | "55P03" => Some(soon("the database is busy")),
            // query_canceled by statement_timeout; admin_shutdown, crash_shutdown and cannot_connect_now;
            // read_only_sql_transaction, of a primary that has become a standby
            "57014" | "57P01" | "57P02" | "57P03" | "25006" => Some(gone()),
            // Connections, credentials (at a reconnect, as the start went well) and resources.
            code if ["08", "28", "53"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Some(gone())
            }
            _ => None,
        };
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
        let code: i32 = error.code().and_then(|code| code.parse().ok())?;
        return match code & 0xff {
            // SQLITE_BUSY, SQLITE_LOCKED
            5 | 6 => Some(soon("the database is busy")),
            // SQLITE_FULL, SQLITE_CANTOPEN
            13 | 14 => Some(gone()),
            _ => None,
        };
    }
    None
}
