//! Password rotation while the service runs.

use axum_chassis::Chassis;

use crate::pool::{client_of, warn_if_readable};
use crate::{Pool, Settings, redis};

/// Like [`redis`](crate::redis()), but follows changes of the settings. A new `url`, such as one with another
/// password in a mounted secret, is used for new connections. Old connections are closed after the responses to their
/// commands.
///
/// `of` returns the part of the service's settings that belongs to Redis:
///
/// ```no_run
/// # use axum_chassis::Chassis;
/// # #[derive(Clone, Default)] struct Settings { redis: axum_chassis_redis::Settings }
/// # async fn start(chassis: Chassis<Settings>) -> anyhow::Result<()> {
/// let redis = axum_chassis_redis::redis_rotating(&chassis, "redis", |settings| &settings.redis).await?;
/// # Ok(()) }
/// ```
///
/// If the new URL does not work, an error is logged, and the old connections stay in use. The new URL is retried every
/// second until it works or the settings change ([`Chassis::follow`]). Other settings of the pool need a restart.
///
/// # Errors
/// The same as [`redis`](crate::redis()).
pub async fn redis_rotating<S: Send + Sync + 'static>(
    chassis: &Chassis<S>,
    name: &str,
    of: impl Fn(&S) -> &Settings + Send + Sync + 'static,
) -> anyhow::Result<Pool> {
    let first = of(chassis.settings()).clone();
    let pool = redis(chassis, name, &first).await?;
    let (rotated, name) = (pool.clone(), name.to_owned());
    chassis.follow(
        format!("{name}.url"),
        move |settings| of(settings).url.clone(),
        move |url| {
            let (pool, name) = (rotated.clone(), name.clone());
            let mut new = first.clone();
            new.url = url;
            async move {
                pool.follow(client_of(&name, &new)?).await?;
                warn_if_readable(&name, &new);
                Ok(())
            }
        },
    );
    Ok(pool)
}
