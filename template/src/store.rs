//! Stores orders in memory.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::http::StatusCode;
use axum_chassis::health::Check;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use axum_chassis::{Chassis, Problem};
use serde::{Deserialize, Serialize};

/// The settings of the store.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// The largest number of orders.
    pub(crate) capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { capacity: 1000 }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.capacity == 0 {
            errors.add("capacity", "must be at least 1");
        }
    }
}

/// A stored order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
pub(crate) struct Order {
    pub(crate) id: i64,
    #[serde(flatten)]
    pub(crate) wanted: NewOrder,
}

/// A new order from a client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
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

/// The error of a full store.
#[derive(Debug)]
pub(crate) struct Full {
    capacity: usize,
}

/// Cheap to clone; clones share the store. Its functions are async and may fail, like those of a database.
#[derive(Clone)]
pub(crate) struct Store {
    capacity: usize,
    orders: Arc<RwLock<Vec<Order>>>,
}

impl Store {
    /// Opens the store, and adds an informing readiness check. The store is closed after the last request.
    pub(crate) fn open<S>(chassis: &Chassis<S>, settings: &Settings) -> Self {
        let store = Self {
            capacity: settings.capacity,
            orders: Arc::default(),
        };
        chassis.on_error(|error| {
            let full: &Full = error.downcast_ref()?;
            Some(Problem::new(StatusCode::INSUFFICIENT_STORAGE).detail(full.to_string()))
        });
        chassis.readiness().inform("store", store.clone());
        let closing = store.clone();
        chassis.on_stop("store", async move || closing.close());
        store
    }

    /// `None` if an order with this reference exists.
    pub(crate) async fn add(&self, wanted: &NewOrder) -> Result<Option<Order>, Full> {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        if orders
            .iter()
            .any(|order| order.wanted.reference == wanted.reference)
        {
            return Ok(None);
        }
        if orders.len() >= self.capacity {
            return Err(self.full());
        }
        let order = Order {
            id: orders.last().map_or(1, |last| last.id + 1),
            wanted: wanted.clone(),
        };
        orders.push(order.clone());
        Ok(Some(order))
    }

    pub(crate) async fn find(&self, id: i64) -> Result<Option<Order>, Full> {
        Ok(self.orders().iter().find(|order| order.id == id).cloned())
    }

    pub(crate) async fn find_by_reference(&self, reference: &str) -> Result<Option<Order>, Full> {
        let orders = self.orders();
        let mut found = orders
            .iter()
            .filter(|order| order.wanted.reference == reference);
        Ok(found.next().cloned())
    }

    /// The first `limit` orders with ids greater than `after`.
    pub(crate) async fn list(&self, after: i64, limit: u16) -> Result<Vec<Order>, Full> {
        let orders = self.orders();
        let wanted = orders.iter().filter(|order| order.id > after);
        Ok(wanted.take(limit.into()).cloned().collect())
    }

    fn close(self) -> anyhow::Result<()> {
        tracing::info!(orders = self.orders().len(), "store closed");
        Ok(())
    }

    fn orders(&self) -> RwLockReadGuard<'_, Vec<Order>> {
        self.orders.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> Full {
        let capacity = self.capacity;
        Full { capacity }
    }
}

/// A full store accepts no more orders, but still serves existing ones. So its check only informs, and the service
/// stays ready. Otherwise, clients could make the whole service unavailable by filling the stores of all replicas.
impl Check for Store {
    async fn check(&self) -> anyhow::Result<()> {
        if self.orders().len() < self.capacity {
            Ok(())
        } else {
            Err(self.full().into())
        }
    }
}

impl std::error::Error for Full {}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} places are taken", self.capacity)
    }
}
