//! Remembers orders, for as long as the process lives. Put your database here.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum_chassis::health::Check;
use serde::{Deserialize, Serialize};

use crate::settings;

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
    pub(crate) fn open(settings: &settings::Store) -> Self {
        Self {
            capacity: settings.capacity,
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

    /// Runs when the last request is gone.
    pub(crate) fn close(self) -> anyhow::Result<()> {
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
