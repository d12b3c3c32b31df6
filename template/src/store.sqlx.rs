//! Stores orders in the database; contains all queries.

#[cfg(feature = "openapi")]
use axum_chassis::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, query_as};

use crate::database::Pool;

/// A stored order.
#[derive(Clone, Debug, Deserialize, FromRow, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
pub(crate) struct Order {
    pub(crate) id: i64,
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub(crate) wanted: NewOrder,
}

/// A new order from a client.
#[derive(Clone, Debug, Deserialize, FromRow, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
pub(crate) struct NewOrder {
    /// Chosen by the client. If an order is sent twice with the same reference, it is created once.
    #[cfg_attr(feature = "openapi", schemars(pattern(r"^[^\x00-\x1f\x7f-\x9f]+$")))]
    pub(crate) reference: String,
    #[cfg_attr(feature = "openapi", schemars(pattern(r"^[^\x00-\x1f\x7f-\x9f]+$")))]
    pub(crate) item: String,
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = i32::MAX)))]
    pub(crate) quantity: i32,
}

/// Cheap to clone; clones share the store.
#[derive(Clone)]
pub(crate) struct Store {
    database: Pool,
}

impl Store {
    pub(crate) fn new(database: Pool) -> Self {
        Self { database }
    }

    /// `None` if an order with this reference exists.
    pub(crate) async fn add(&self, wanted: &NewOrder) -> sqlx::Result<Option<Order>> {
        let sql = "INSERT INTO orders (reference, item, quantity) VALUES ($1, $2, $3) \
                   ON CONFLICT (reference) DO NOTHING RETURNING id, reference, item, quantity";
        query_as(sql)
            .bind(&wanted.reference)
            .bind(&wanted.item)
            .bind(wanted.quantity)
            .fetch_optional(&self.database)
            .await
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<Order>> {
        let sql = "SELECT id, reference, item, quantity FROM orders WHERE id = $1";
        query_as(sql).bind(id).fetch_optional(&self.database).await
    }

    pub(crate) async fn find_by_reference(&self, reference: &str) -> sqlx::Result<Option<Order>> {
        let sql = "SELECT id, reference, item, quantity FROM orders WHERE reference = $1";
        query_as(sql)
            .bind(reference)
            .fetch_optional(&self.database)
            .await
    }

    /// The first `limit` orders with ids greater than `after`.
    pub(crate) async fn list(&self, after: i64, limit: u16) -> sqlx::Result<Vec<Order>> {
        let sql =
            "SELECT id, reference, item, quantity FROM orders WHERE id > $1 ORDER BY id LIMIT $2";
        query_as(sql)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.database)
            .await
    }
}
