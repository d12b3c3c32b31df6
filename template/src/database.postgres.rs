//! Connects to the database and applies its migrations.

use axum_chassis::Chassis;

use crate::settings::Settings;

pub(crate) type Pool = sqlx::PgPool;

/// Waits until the database is available, and returns its connection pool. The pool has a readiness check, uses a new
/// password in the settings without a restart, and is closed after the last request.
pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Pool> {
    axum_chassis_sqlx::postgres_rotating(chassis, "database", |settings| &settings.database).await
}

/// The command `migrate` applies the pending migrations of `migrations/`. Run it once, before a new version starts.
pub(crate) async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    let mut migrations = sqlx::migrate!();
    // The database may already have migrations of a later version that was rolled back.
    migrations.set_ignore_missing(true);
    let settings = &chassis.settings().database;
    axum_chassis_sqlx::migrate(&chassis, "database", settings, migrations).await
}
