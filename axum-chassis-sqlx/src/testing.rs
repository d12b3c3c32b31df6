//! Test support: a PostgreSQL database for each test.

use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime;
use tokio::time::timeout;
use url::Url;

/// The timeout of one statement on the server, including the time to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// An empty database, which is deleted when this value is dropped.
///
/// ```no_run
/// # macro_rules! env { ($name:literal) => { "orders" } }
/// use axum_chassis_testing::Program;
/// use axum_chassis_sqlx::testing::Database;
///
/// let database = Database::create("postgres://orders:orders@localhost/orders");
/// let service = Program::new(env!("CARGO_BIN_EXE_orders"))
///     .variable("DATABASE_URL", database.url())
///     .keep(database)
///     .start();
/// ```
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
}

// === impl Database ===

impl Database {
    /// Creates a database on the server in the environment variable `DATABASE_URL` or, if that is unset, on `server`.
    /// The user in the URL needs the right to create databases.
    ///
    /// Blocks. It may be called within a runtime.
    ///
    /// # Panics
    /// If the server is not available, or rejects the request.
    #[must_use]
    #[track_caller]
    pub fn create(server: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = env::var("DATABASE_URL").unwrap_or_else(|_| server.to_owned());
        let Ok(mut url) = Url::parse(&server) else {
            panic!("invalid DATABASE_URL, expected the URL of a PostgreSQL server for tests");
        };
        // The name is unique even if several machines share a server.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{:x}_{}_{count}", now.as_micros(), process::id());
        url.set_path(&name);
        let database = Self {
            server,
            url: url.into(),
            name,
        };
        let made = database.execute(&format!("CREATE DATABASE {}", database.name));
        if let Err(reason) = made {
            let (host, port) = database.place();
            // Otherwise `Drop` would try to delete the database, which does not exist.
            std::mem::forget(database);
            panic!(
                "no database to test on: {reason}. Tests need PostgreSQL at {host}:{port}, or at DATABASE_URL, with \
                 a user that may create databases"
            );
        }
        database
    }

    /// The value for the service's `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn place(&self) -> (String, u16) {
        let url = Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
        let port = url.as_ref().and_then(Url::port).unwrap_or(5432);
        (host.to_owned(), port)
    }

    /// Runs work on the server in a separate thread, because a runtime cannot be started within another.
    fn execute(&self, statement: &str) -> Result<(), String> {
        let work = || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let statement = AssertSqlSafe(statement.to_owned());
            runtime.block_on(async {
                let work = async {
                    let mut connection = PgConnection::connect(&self.server).await?;
                    sqlx::raw_sql(statement).execute(&mut connection).await?;
                    connection.close().await
                };
                match timeout(PATIENCE, work).await {
                    Ok(done) => done.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no response within {PATIENCE:?}")),
                }
            })
        };
        thread::scope(|scope| scope.spawn(work).join())
            .unwrap_or_else(|_| Err("the driver panicked".to_owned()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // `FORCE`, because a service that was killed may still be connected.
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if let Err(reason) = self.execute(&statement) {
            eprintln!("the database {} is left behind: {reason}", self.name);
        }
    }
}
