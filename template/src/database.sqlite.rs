//! The database, a file: how it is opened, and brought up to date.

use axum_chassis::Chassis;

use crate::settings::Settings;

pub(crate) type Pool = sqlx::SqlitePool;

/// Opens it, makes it if there is none, and runs those of `migrations/` that it has not seen: it is this process's
/// alone, so nobody else can. From then on readiness checks it, and it is closed after the last request.
pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Pool> {
    let settings = &chassis.settings().database;
    let database = axum_chassis_sqlx::sqlite(chassis, "database", settings).await?;
    sqlx::migrate!()
        // A later version may have been here, and been taken back.
        .set_ignore_missing(true)
        .run(&database)
        .await?;
    Ok(database)
}

/// The command `migrate`: the same, and no more.
pub(crate) async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    open(&chassis).await?;
    Ok(())
}
