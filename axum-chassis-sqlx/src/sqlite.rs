//! A connection pool for an SQLite file.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use axum_chassis::{Chassis, health};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::open::{open, wait};
use crate::{Settings, classify_error};

/// The longest wait of a statement for a lock if the timeout is disabled.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Opens an SQLite file, and creates it if it is missing.
///
/// Writers do not block readers (WAL). They wait for each other, for at most `statement_timeout`. Foreign keys are
/// enforced. `name` is the key in the service's settings, such as `database`.
///
/// # Errors
/// If the URL is not an SQLite URL, or if the file cannot be opened within `service.start_timeout`.
pub async fn sqlite<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<SqlitePool> {
    let url = match Address::read(&settings.url) {
        Ok(Address::Sqlite(url)) => url,
        #[cfg(feature = "postgres")]
        Ok(_) => bail!("{name}.url: URL of another database, expected sqlite:PATH"),
        Err(wrong) => bail!("{name}.url: {wrong}"),
    };
    // The parser's message may quote the URL.
    let Ok(options) = SqliteConnectOptions::from_str(&url) else {
        bail!("{name}.url: invalid parameter after the `?`");
    };
    let patience = *settings.statement_timeout;
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With a WAL, this is as safe as `Full`, except that a power failure may lose the last transactions.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(if patience.is_zero() {
            FOR_EVER
        } else {
            patience
        });
    // Idle connections cost little, and closing the last connection to a database in memory deletes the database.
    let pool = SqlitePoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        .after_release(|connection, _| Box::pin(is_alive(connection)));
    let mut settings = settings.clone();
    if is_in_memory(&url) {
        // Connections to one in-memory database share a cache, where a statement fails instead of waiting for a lock.
        settings.max_connections = 1;
    }
    let probe = FileCheck::new(options.clone(), is_in_memory(&url));
    wait(chassis, name, &settings, &probe).await?;
    chassis.on_error(classify_error);
    open(chassis, name, &settings, pool, options, probe)
}

/// Whether sqlx's worker, the thread of a connection, still runs. A query that was sent before the thread ended never
/// gets a response. When such a connection returned to the pool, sqlx would wait without a limit, and the pool would
/// lose one connection.
async fn is_alive(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    const ANSWER: Duration = Duration::from_secs(1);
    loop {
        // After a timeout, try again. This distinguishes a slow thread from an ended one: a query that is sent after
        // the thread's end fails immediately.
        match tokio::time::timeout(ANSWER, connection.ping()).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(error)) => {
                tracing::info!(%error, "a connection of the pool was lost");
                return Ok(false);
            }
            Err(_) => {}
        }
    }
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// The readiness check, on a connection of its own. Cheap to clone; clones share the connection.
#[derive(Clone)]
struct FileCheck {
    options: SqliteConnectOptions,
    sql: &'static str,
    connection: Arc<Mutex<Option<SqliteConnection>>>,
}

impl FileCheck {
    fn new(options: SqliteConnectOptions, is_in_memory: bool) -> Self {
        // Unlike `SELECT 1`, this query reads the file.
        let sql = match is_in_memory {
            true => "SELECT 1",
            false => "SELECT 1 FROM sqlite_schema LIMIT 1",
        };
        Self {
            options,
            sql,
            connection: Arc::default(),
        }
    }

    /// Runs the check on the existing connection, or on a new one if that is broken.
    async fn ask(&self) -> anyhow::Result<()> {
        let sql = self.sql;
        // Take the connection out, so that it is not used again if its query is aborted.
        let known = self.connection.lock().await.take();
        let answered = match known {
            Some(mut known) => known.execute(sql).await.ok().map(|_| known),
            None => None,
        };
        let connection = match answered {
            Some(known) => known,
            None => {
                let mut fresh = self.options.connect().await?;
                fresh.execute(sql).await?;
                fresh
            }
        };
        *self.connection.lock().await = Some(connection);
        Ok(())
    }
}

impl health::Check for FileCheck {
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        self.ask()
    }
}
