//! Password rotation while the service runs.

use anyhow::bail;
use axum_chassis::Chassis;
use sqlx::postgres::PgPool;

use super::probe::Probe;
use super::upkeep::{ANSWER, Upkeep};
use super::{connect, warn_of_weakness, ways};
use crate::Settings;

/// Like [`postgres`](crate::postgres()), but follows changes of the settings. A new `url`, such as one with another
/// password in a mounted secret, is used for new connections. Old connections are closed before their next use, or
/// immediately if they are idle.
///
/// `of` returns the part of the service's settings that belongs to the database:
///
/// ```no_run
/// # use axum_chassis::Chassis;
/// # #[derive(Clone, Default)] struct Settings { database: axum_chassis_sqlx::Settings }
/// # async fn start(chassis: Chassis<Settings>) -> anyhow::Result<()> {
/// let pool = axum_chassis_sqlx::postgres_rotating(&chassis, "database", |settings| &settings.database).await?;
/// # Ok(()) }
/// ```
///
/// If no connection can be opened with the new URL, an error is logged, and the old connections stay in use. The new
/// URL is retried every second until it works or the settings change ([`Chassis::follow`]). Other settings of the pool
/// need a restart.
///
/// # Errors
/// The same as [`postgres`](crate::postgres()).
pub async fn postgres_rotating<S: Send + Sync + 'static>(
    chassis: &Chassis<S>,
    name: &str,
    of: impl Fn(&S) -> &Settings + Send + Sync + 'static,
) -> anyhow::Result<PgPool> {
    let first = of(chassis.settings()).clone();
    let (pool, probe) = connect(chassis, name, &first).await?;
    let (rotated, name) = (pool.clone(), name.to_owned());
    chassis.follow(
        format!("{name}.url"),
        move |settings| of(settings).url.clone(),
        move |url| {
            let (pool, probe, name) = (rotated.clone(), probe.clone(), name.clone());
            let mut new = first.clone();
            new.url = url;
            async move { rotate(&name, &new, &pool, &probe).await }
        },
    );
    Ok(pool)
}

/// Connects with the new URL, and if that succeeds, uses it for the pool.
async fn rotate(
    name: &str,
    settings: &Settings,
    pool: &PgPool,
    used: &Probe,
) -> anyhow::Result<()> {
    let ways = ways(name, settings)?;
    let new = Probe::new(ways, Upkeep::default());
    let limit = settings.acquire_timeout;
    match tokio::time::timeout(*limit, new.connect()).await {
        Ok(connected) => drop(connected?),
        Err(_) => bail!("no response within {limit}"),
    }
    warn_of_weakness(name, settings);
    pool.set_connect_options(new.options());
    used.follow(&new).await;
    // Only idle connections are closed here. Those in use are closed before their next use.
    for _ in 0..pool.num_idle() {
        let Some(idle) = pool.try_acquire() else {
            break;
        };
        let _ = tokio::time::timeout(ANSWER, idle.close()).await;
    }
    // Connections that were just being opened with the old URL are open by then: replace them too.
    tokio::time::sleep(*limit).await;
    used.renew();
    Ok(())
}
