//! The database: how it is reached, and brought up to date.

use axum_chassis::Chassis;

use crate::settings::Settings;

pub(crate) type Pool = sqlx::PgPool;

/// Waits until it answers. From then on readiness checks it, a new password in the settings is used without a restart,
/// and it is closed after the last request.
pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Pool> {
    axum_chassis_sqlx::postgres_rotating(chassis, "database", |settings| &settings.database).await
}

/// The command `migrate`, once before a new version starts: runs those of `migrations/` that the database has not seen.
pub(crate) async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    let mut migrations = sqlx::migrate!();
    // A later version may have been here, and been taken back.
    migrations.set_ignore_missing(true);
    let settings = &chassis.settings().database;
    axum_chassis_sqlx::migrate(&chassis, "database", settings, migrations).await
}
