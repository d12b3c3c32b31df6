//! Opens the database file and applies its migrations.

use axum_chassis::Chassis;

use crate::settings::Settings;

pub(crate) type Pool = sqlx::SqlitePool;

/// Opens the database, creates it if it is missing, and applies pending migrations of `migrations/`, because no other
/// process uses the file. It adds a readiness check, and closes the database after the last request.
pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Pool> {
    let settings = &chassis.settings().database;
    let database = axum_chassis_sqlx::sqlite(chassis, "database", settings).await?;
    sqlx::migrate!()
        // A later version may have been deployed and rolled back.
        .set_ignore_missing(true)
        .run(&database)
        .await?;
    Ok(database)
}

/// The command `migrate`: opens the database and applies the migrations.
pub(crate) async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    open(&chassis).await?;
    Ok(())
}
