//! Passwords that change while the service runs.

use std::time::Duration;

use axum_chassis::Chassis;

use crate::pool::client_of;
use crate::{Pool, Settings, redis};

/// How long until a URL that does not work is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The same as [`redis`](crate::redis()), and follows the settings: a new `url`, such as one with another
/// password in a mounted secret, is used for new connections, and those from before are let go once their
/// commands have their answers.
///
/// `of` finds the settings of Redis in the service's:
///
/// ```no_run
/// # use axum_chassis::Chassis;
/// # #[derive(Clone, Default)] struct Settings { redis: axum_chassis_redis::Settings }
/// # async fn start(chassis: Chassis<Settings>) -> anyhow::Result<()> {
/// let redis = axum_chassis_redis::redis_rotating(&chassis, "redis", |settings| &settings.redis).await?;
/// # Ok(()) }
/// ```
///
/// A URL that does not work is logged as an error, and the connections of before go on; it is tried again
/// every second until it works or the settings change. Other settings of the pool need a restart.
///
/// # Errors
/// Those of [`redis`](crate::redis()).
pub async fn redis_rotating<S: Send + Sync + 'static>(
    chassis: &Chassis<S>,
    name: &str,
    of: impl Fn(&S) -> &Settings + Send + Sync + 'static,
) -> anyhow::Result<Pool> {
    let pool = redis(chassis, name, of(chassis.settings())).await?;
    let name = name.to_owned();
    let mut settings = chassis.watch();
    let mut used = of(chassis.settings()).url.expose().to_owned();
    let rotated = pool.clone();
    tokio::spawn(async move {
        while settings.changed().await.is_ok() && !rotated.is_closed() {
            let mut told = String::new();
            loop {
                let new = of(&settings.borrow_and_update()).clone();
                let url = new.url.expose().to_owned();
                if url == used || rotated.is_closed() {
                    break;
                }
                match rotate(&name, &new, &rotated).await {
                    Ok(()) => {
                        tracing::info!(redis = name, "connections are made with the new URL");
                        used = url;
                        break;
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        if error != told {
                            tracing::error!(
                                redis = name,
                                error,
                                "the new URL does not work: connections go on with the one of before"
                            );
                            told = error;
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    });
    Ok(pool)
}

async fn rotate(name: &str, settings: &Settings, pool: &Pool) -> anyhow::Result<()> {
    pool.follow(client_of(name, settings)?).await
}
