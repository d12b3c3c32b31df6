//! What both databases have in common: patience, readiness, metrics and the end.

use std::future::Future;

use anyhow::bail;
use axum_chassis::{Chassis, health};
use sqlx::pool::PoolOptions;
use sqlx::{ConnectOptions, Connection, Database, Executor, Pool};
use tokio::sync::Mutex;

use crate::{Settings, meaning};

/// Opens a pool once the database answers, and tells the chassis of it.
pub(crate) async fn open<S, DB>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
    pool: PoolOptions<DB>,
    probe: Probe<DB>,
) -> anyhow::Result<Pool<DB>>
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let patience = *settings.acquire_timeout;
    chassis
        .wait_for(name, || async {
            // Not by the pool, which would only say that its time was up.
            match tokio::time::timeout(patience, probe.ask()).await {
                Ok(answer) => answer,
                Err(_) => bail!("no answer within {}", settings.acquire_timeout),
            }
        })
        .await?;

    let pool = pool
        .max_connections(settings.max_connections)
        .acquire_timeout(patience)
        .connect_lazy_with(probe.options.clone());
    observe(chassis, name, &pool)?;
    chassis.on_error(meaning);
    let closing = pool.clone();
    chassis.on_stop(name, async move || {
        closing.close().await;
        Ok(())
    });
    chassis.readiness().check(name, probe);
    Ok(pool)
}

/// By OpenTelemetry's names. sqlx tells neither who waits for a connection nor who gave up.
fn observe<S, DB: Database>(
    chassis: &Chassis<S>,
    name: &str,
    pool: &Pool<DB>,
) -> anyhow::Result<()> {
    let metrics = chassis.metrics();
    let label = ("db_client_connection_pool_name", name);
    let idle = {
        let pool = pool.clone();
        move || pool.num_idle() as f64
    };
    let used = {
        let pool = pool.clone();
        move || f64::from(pool.size()) - pool.num_idle() as f64
    };
    let count = |state, read: Box<dyn Fn() -> f64 + Send + Sync>| {
        metrics.gauge_fn(
            "db_client_connection_count",
            "Connections in the pool, by whether a query has them.",
            &[label, ("db_client_connection_state", state)],
            read,
        )
    };
    count("idle", Box::new(idle))?;
    // Between two reads a connection may have come back.
    count("used", Box::new(move || used().max(0.0)))?;
    let max = f64::from(pool.options().get_max_connections());
    metrics.gauge_fn(
        "db_client_connection_max",
        "How many connections the pool may have.",
        &[label],
        move || max,
    )?;
    Ok(())
}

/// The readiness check, on a connection of its own: a pool without a free connection is busy, and no
/// reason to send the same requests to the next replica.
pub(crate) struct Probe<DB: Database> {
    options: <DB::Connection as Connection>::Options,
    query: &'static str,
    connection: Mutex<Option<DB::Connection>>,
}

impl<DB: Database> Probe<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    pub(crate) fn new(
        options: <DB::Connection as Connection>::Options,
        query: &'static str,
    ) -> Self {
        Self {
            options,
            query,
            connection: Mutex::new(None),
        }
    }

    /// Asks on the connection there is, and if it is broken on a new one.
    async fn ask(&self) -> anyhow::Result<()> {
        // Taken out, so that one whose query is cut half-way is not asked again.
        let known = self.connection.lock().await.take();
        let answered = match known {
            Some(mut known) => known.execute(self.query).await.ok().map(|_| known),
            None => None,
        };
        let connection = match answered {
            Some(known) => known,
            None => self.connect().await.map_err(|error| {
                // Its cause stands in its text already.
                anyhow::anyhow!("{error}")
            })?,
        };
        *self.connection.lock().await = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> sqlx::Result<DB::Connection> {
        let mut connection = self.options.connect().await?;
        connection.execute(self.query).await?;
        Ok(connection)
    }
}

impl<DB: Database> health::Check for Probe<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        self.ask()
    }
}
