//! Remembers orders, for as long as the process lives. Put your database here.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum_chassis::Chassis;
use axum_chassis::health::Check;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Problems, Validate};
use serde::{Deserialize, Serialize};

use crate::settings;

/// Where orders are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// How many orders fit.
    pub(crate) capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { capacity: 1000 }
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        if self.capacity == 0 {
            problems.add("capacity", "must be at least 1");
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Order {
    pub(crate) id: usize,
    #[serde(flatten)]
    pub(crate) wanted: NewOrder,
}

/// What a client asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct NewOrder {
    pub(crate) item: String,
    pub(crate) quantity: NonZeroU32,
}

/// There is no room for another order.
#[derive(Debug, PartialEq)]
pub(crate) struct Full {
    capacity: usize,
}

/// Cheap to clone; all clones are one store.
#[derive(Clone)]
pub(crate) struct Store {
    capacity: usize,
    orders: Arc<RwLock<Vec<Order>>>,
}

impl Store {
    /// One that readiness checks, and that is closed when the last request is gone.
    pub(crate) fn open(chassis: &Chassis<settings::Settings>) -> Self {
        let store = Self::new(chassis.settings().store.capacity);
        chassis.readiness().check("store", store.clone());
        let closing = store.clone();
        chassis.on_stop("store", async move || closing.close());
        store
    }

    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            orders: Arc::default(),
        }
    }

    pub(crate) fn add(&self, wanted: NewOrder) -> Result<Order, Full> {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        if orders.len() >= self.capacity {
            return Err(self.full());
        }
        let id = orders.len() + 1;
        let order = Order { id, wanted };
        orders.push(order.clone());
        Ok(order)
    }

    pub(crate) fn get(&self, id: usize) -> Option<Order> {
        self.orders().get(id.checked_sub(1)?).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Order> {
        self.orders().clone()
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

/// The readiness check: a full store can take no more orders, so another replica should.
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
