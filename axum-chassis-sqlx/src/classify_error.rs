//! Maps sqlx's errors to HTTP statuses.

use std::error::Error;
use std::time::Duration;

use axum_chassis::Problem;
use sqlx::error::DatabaseError;

/// `Retry-After` for short-lived conditions: a lock, or no free connection.
const SOON: Duration = Duration::from_secs(1);
/// `Retry-After` while the database is not available.
const LATER: Duration = Duration::from_secs(5);

/// Maps an error that a handler returned with `?`. Returns `None` for errors that are not sqlx's, and for bugs of the
/// service, such as an invalid query. Such an error becomes a 500, unless another mapping applies to it.
///
/// | error | response |
/// |---|---|
/// | within `acquire_timeout`, no connection was free and none could be opened | 503, `Retry-After: 1` |
/// | the connection failed or was lost (I/O, TLS), or the pool is closed | 503, `Retry-After: 5` |
/// | unique violation (23505), exclusion violation (23P01) | 409 |
/// | serialization failure (40001), deadlock (40P01), lock not available (55P03) | 503, `Retry-After: 1` |
/// | `cached plan must not change result type` (0A000), after a migration | 503, `Retry-After: 1`; the connections are replaced |
/// | read-only transaction (25006), after a failover | 503, `Retry-After: 5`; the connections are replaced |
/// | transaction that was idle for too long (25P03) or took too long (25P04) | 503, `Retry-After: 5` |
/// | connection (08), credentials (28), missing database (3D000) | 503, `Retry-After: 5` |
/// | resources (53), operator intervention and timeouts (57), system (58) | 503, `Retry-After: 5` |
/// | SQLite: busy, locked | 503, `Retry-After: 1` |
/// | SQLite: full, cannot be opened | 503, `Retry-After: 5` |
///
/// The error's text is logged, and is not in the response. The functions that open a pool register this function with
/// [`Chassis::on_error`](axum_chassis::Chassis::on_error). It is public for programs that render errors themselves.
pub fn classify_error(error: &(dyn Error + 'static)) -> Option<Problem> {
    match error.downcast_ref::<sqlx::Error>()? {
        // Either all connections are in use, or none can be opened: sqlx returns the same error for both.
        sqlx::Error::PoolTimedOut => Some(soon("the database gave no connection in time")),
        sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed => Some(gone()),
        sqlx::Error::Database(error) if is_conflict(&**error) => {
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

fn is_conflict(error: &(dyn DatabaseError + 'static)) -> bool {
    error.is_unique_violation() || (error.code().as_deref() == Some("23P01"))
}

/// Maps the temporary errors that the database itself returns.
#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    allow(unused_variables)
)]
fn passing(error: &(dyn DatabaseError + 'static)) -> Option<Problem> {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return match error.code() {
            "40001" | "40P01" | "55P03" => Some(soon("the database is busy")),
            _ if is_stale_plan(error) => Some(soon("the database has a new schema")),
            // Invalid credentials (28) and a missing database (3D000) are temporary errors too: the service's first
            // connection succeeded, so the URL is right.
            "25006" | "25P03" | "25P04" | "3D000" => Some(gone()),
            code if ["08", "28", "53", "57", "58"].contains(&code.get(..2).unwrap_or_default()) => {
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

/// "cached plan must not change result type" has no code of its own.
#[cfg(feature = "postgres")]
pub(crate) fn is_stale_plan(error: &sqlx::postgres::PgDatabaseError) -> bool {
    error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
}
