//! A connection pool for PostgreSQL.

mod error;
#[cfg(feature = "migrate")]
mod migrate;
mod probe;
mod rotation;
mod silence;
mod upkeep;

use anyhow::bail;
use axum_chassis::Chassis;
use sqlx::Connection;
use sqlx::postgres::{PgPool, PgPoolOptions};

use self::error::message;
#[cfg(feature = "migrate")]
pub use self::migrate::migrate;
use self::probe::{Probe, Ways};
pub use self::rotation::postgres_rotating;
use self::upkeep::Upkeep;
use crate::address::Address;
use crate::open::{open, wait};
use crate::postgres_url::PostgresUrl;
use crate::{Settings, classify_error};

/// Waits until PostgreSQL is available, and opens a connection pool.
///
/// `name` is the key in the service's settings, such as `database`. It is also the name of the readiness check, of
/// the pool in metrics and errors, and of the stop hook.
///
/// Each new connection sets `statement_timeout` on the server. `application_name` is `name`, unless the URL contains
/// another one.
///
/// # Errors
/// If the URL is not a PostgreSQL URL, or if the database is not available within `service.start_timeout`.
pub async fn postgres<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<PgPool> {
    let (pool, _) = connect(chassis, name, settings).await?;
    Ok(pool)
}

/// Opens the pool, and returns it with its probe.
async fn connect<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<(PgPool, Probe)> {
    let upkeep = Upkeep::default();
    let ways = ways(name, settings)?;
    let timeout = ways.timeout;
    let probe = Probe::new(ways, upkeep.clone());
    warn_of_weakness(name, settings);
    wait(chassis, name, settings, &probe).await?;
    if let Some(wanted) = timeout {
        warn_without_timeout(name, settings, wanted, &probe).await;
    }

    let noted = upkeep.clone();
    chassis.on_error(move |error| {
        noted.note(error);
        classify_error(error)
    });
    chassis.error_text(message);
    let suspected = upkeep.suspected.clone();
    let connecting = probe.clone();
    let idle = *settings.idle_timeout;
    let pool = PgPoolOptions::new()
        .idle_timeout((!idle.is_zero()).then_some(idle))
        // `before_acquire` below tests the connection too, and has a timeout.
        .test_before_acquire(false)
        // A pooler accepts a connection immediately, and lets its queries wait for a server. The ping makes this wait
        // count towards `acquire_timeout`.
        .after_connect(|connection, _| Box::pin(connection.ping()))
        .before_acquire(move |connection, of| {
            let (upkeep, probe) = (upkeep.clone(), connecting.clone());
            Box::pin(async move { upkeep.is_usable(connection, of, || probe.options()).await })
        });
    let pool = open(
        chassis,
        name,
        settings,
        pool,
        probe.options(),
        probe.clone(),
    )?;
    tokio::spawn(probe::watch(pool.clone(), probe.clone(), suspected));
    Ok((pool, probe))
}

/// Logs a warning if others on the network could read the connection or impersonate the server.
fn warn_of_weakness(name: &str, settings: &Settings) {
    if let Ok(url) = read(name, settings)
        && let Some(weakness) = url.weakness()
    {
        tracing::warn!(database = name, "{weakness}");
    }
}

/// The options to connect with.
fn ways(name: &str, settings: &Settings) -> anyhow::Result<Ways> {
    let url = read(name, settings)?;
    let plain = url.options(name);
    let mut full = plain.clone();
    // A `statement_timeout` in the URL or in PGOPTIONS takes precedence over the setting, because the setting may be just its
    // default.
    let is_given = plain
        .get_options()
        .is_some_and(|given| given.contains("statement_timeout"));
    let timeout = settings.statement_timeout;
    let timeout = (!timeout.is_zero() && !is_given).then_some(timeout);
    if let Some(timeout) = timeout {
        full = full.options([("statement_timeout", timeout.as_millis())]);
    }
    let needs_writes = url.needs_writes;
    Ok(Ways {
        full,
        plain,
        timeout,
        needs_writes,
    })
}

fn read(name: &str, settings: &Settings) -> anyhow::Result<Box<PostgresUrl>> {
    match Address::read(&settings.url) {
        Ok(Address::Postgres(url)) => Ok(url),
        Ok(_) => bail!(
            "{name}.url: URL of another database, expected postgres://USER:PASSWORD@HOST:5432/NAME"
        ),
        Err(wrong) => bail!("{name}.url: {wrong}"),
    }
}

/// Logs a warning if the server's `statement_timeout` is longer than `wanted`, or off. A pooler may ignore the parameter, or
/// reject it; after a rejection, the service connects without it.
async fn warn_without_timeout(
    name: &str,
    settings: &Settings,
    wanted: axum_chassis::settings::Duration,
    probe: &Probe,
) {
    let limit = *settings.acquire_timeout;
    let Ok(Ok(actual)) = tokio::time::timeout(limit, probe.statement_timeout()).await else {
        return;
    };
    if actual.is_zero() || actual > *wanted {
        tracing::warn!(
            database = name,
            "the statement timeout of {wanted} is not in force: a pooler between this service and PostgreSQL does not \
             forward statement_timeout. Set it for the role instead: ALTER ROLE ... SET statement_timeout = '{wanted}'"
        );
    }
}
