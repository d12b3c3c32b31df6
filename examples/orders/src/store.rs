//! Stores orders. Most services have one kind of database, and do not need the enum. This example supports two, so that
//! it also starts on a laptop without a database server.

use axum_chassis::Chassis;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool, SqlitePool, migrate, query_as};

use crate::settings::Settings;

#[derive(Clone)]
pub(crate) enum Store {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    /// Chosen by the client. If an order is sent twice with the same reference, it is created once.
    reference: String,
    item: String,
    pub(crate) quantity: i64,
}

#[derive(FromRow, Serialize)]
pub(crate) struct Order {
    pub(crate) id: i64,
    reference: String,
    item: String,
    quantity: i64,
}

impl Store {
    /// Waits until the database answers.
    pub(crate) async fn open(chassis: &Chassis<Settings>) -> anyhow::Result<Self> {
        let settings = &chassis.settings().database;
        Ok(if settings.url.expose().starts_with("sqlite:") {
            Self::Sqlite(axum_chassis_sqlx::sqlite(chassis, "database", settings).await?)
        } else {
            Self::Postgres(
                axum_chassis_sqlx::postgres_rotating(chassis, "database", |all| &all.database)
                    .await?,
            )
        })
    }

    /// Waits until the database answers, and brings it up to date.
    pub(crate) async fn migrate(chassis: &Chassis<Settings>) -> anyhow::Result<()> {
        let settings = &chassis.settings().database;
        if settings.url.expose().starts_with("sqlite:") {
            let pool = axum_chassis_sqlx::sqlite(chassis, "database", settings).await?;
            migrate!("migrations/sqlite").run(&pool).await?;
            return Ok(());
        }
        let migrations = migrate!("migrations/postgres");
        axum_chassis_sqlx::migrate(chassis, "database", settings, migrations).await
    }

    pub(crate) async fn add(&self, order: &NewOrder) -> sqlx::Result<Order> {
        const SQL: &str = "INSERT INTO orders (reference, item, quantity) VALUES ($1, $2, $3) \
                           RETURNING id, reference, item, quantity";
        let NewOrder {
            reference,
            item,
            quantity,
        } = order;
        match self {
            Self::Postgres(pool) => {
                let query = query_as(SQL).bind(reference).bind(item).bind(quantity);
                query.fetch_one(pool).await
            }
            Self::Sqlite(pool) => {
                let query = query_as(SQL).bind(reference).bind(item).bind(quantity);
                query.fetch_one(pool).await
            }
        }
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<Order>> {
        const SQL: &str = "SELECT id, reference, item, quantity FROM orders WHERE id = $1";
        match self {
            Self::Postgres(pool) => query_as(SQL).bind(id).fetch_optional(pool).await,
            Self::Sqlite(pool) => query_as(SQL).bind(id).fetch_optional(pool).await,
        }
    }
}
