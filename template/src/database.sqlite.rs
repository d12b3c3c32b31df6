//! Opens the database file and applies its migrations.

use axum_chassis::Chassis;

use crate::settings::Settings;

pub(crate) type Pool = sqlx::SqlitePool;

/// Opens the database file, or creates it. Also applies the pending migrations of `migrations/`, because no other
/// process uses the file. The database has a readiness check, and is closed after the last request.
pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Pool> {
    let settings = &chassis.settings().database;
    let database = axum_chassis_sqlx::sqlite(chassis, "database", settings).await?;
    sqlx::migrate!()
        // The database may already have migrations of a later version that was rolled back.
        .set_ignore_missing(true)
        .run(&database)
        .await?;
    Ok(database)
}

/// The command `migrate` opens the database, which applies the migrations.
pub(crate) async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    open(&chassis).await?;
    Ok(())
}
