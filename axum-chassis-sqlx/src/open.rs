//! The common part of both databases: the wait at the start, readiness, metrics and shutdown.

use axum_chassis::{Chassis, health};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool};

use crate::Settings;

/// Timeout for closing a pool, because a connection to an unresponsive server does not close.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(3);

/// Waits until the database is available.
pub(crate) async fn wait<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
    probe: &impl health::Check,
) -> anyhow::Result<()> {
    let limit = settings.acquire_timeout;
    let attempt = async || {
        // The probe connects without the pool: the pool would return only a timeout, not the cause.
        match tokio::time::timeout(*limit, probe.check()).await {
            Ok(answer) => answer,
            Err(_) => anyhow::bail!("no response within {limit}"),
        }
    };
    chassis.wait_for(name, attempt).await
}

/// Creates the pool, and registers its readiness check, metrics and stop hook.
pub(crate) fn open<S, DB: Database>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
    pool: PoolOptions<DB>,
    options: <DB::Connection as Connection>::Options,
    probe: impl health::Check,
) -> anyhow::Result<Pool<DB>> {
    let pool = pool
        .max_connections(settings.max_connections)
        .acquire_timeout(*settings.acquire_timeout)
        .connect_lazy_with(options);
    observe(chassis, name, &pool)?;
    let closing = pool.clone();
    chassis.on_stop(name, async move || {
        if tokio::time::timeout(CLOSING, closing.close())
            .await
            .is_err()
        {
            tracing::warn!("connections to the database did not close in time");
        }
        Ok(())
    });
    chassis.readiness().add(name, settings.readiness, probe);
    Ok(pool)
}

/// Registers the metrics of the pool, with OpenTelemetry's names. Those for waiting queries and acquire timeouts are missing,
/// because sqlx does not count them.
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
            "Connections in the pool, by state: idle or used.",
            &[label, ("db_client_connection_state", state)],
            read,
        )
    };
    count("idle", Box::new(idle))?;
    // `used` reads the size first. If a connection is opened and returned before it reads the idle ones, the difference is
    // negative.
    count("used", Box::new(move || used().max(0.0)))?;
    let max = f64::from(pool.options().get_max_connections());
    metrics.gauge_fn(
        "db_client_connection_max",
        "The maximum number of connections of the pool.",
        &[label],
        move || max,
    )?;
    Ok(())
}
