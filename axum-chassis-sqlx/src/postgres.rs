//! A pool of connections to PostgreSQL.

use anyhow::bail;
use axum_chassis::Chassis;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Postgres};

use crate::Settings;
use crate::address::Address;
use crate::open::{Probe, open};

/// Opens a pool of connections to PostgreSQL, once it answers.
///
/// `name` is what the service's settings call it, such as `database`: so are the readiness check,
/// the pool in the metrics, the stop hook and whatever is wrong with it.
///
/// `statement_timeout` goes to the server with each new connection, and `application_name` is the
/// name unless the URL has one.
///
/// # Errors
/// If the URL is none of PostgreSQL, or if the database cannot be had within `service.start_timeout`.
pub async fn postgres<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<PgPool> {
    let url = match Address::read(&settings.url) {
        Ok(Address::Postgres(url)) => url,
        Ok(_) => bail!(
            "{name}.url: expected postgres://USER:PASSWORD@HOST:5432/NAME: it is of another database"
        ),
        Err(wrong) => bail!("{name}.url: {wrong}"),
    };
    // Its own words may quote the URL.
    let Ok(mut options) = PgConnectOptions::from_url(&url) else {
        bail!("{name}.url: a parameter after the `?` has a value that is not acceptable");
    };
    if options.get_application_name().is_none() {
        options = options.application_name(name);
    }
    if !settings.statement_timeout.is_zero() {
        let milliseconds = settings.statement_timeout.as_millis();
        options = options.options([("statement_timeout", milliseconds)]);
    }
    let idle = *settings.idle_timeout;
    let pool = PgPoolOptions::new().idle_timeout((!idle.is_zero()).then_some(idle));
    let probe = Probe::<Postgres>::new(options, "SELECT 1");
    open(chassis, name, settings, pool, probe).await
}
