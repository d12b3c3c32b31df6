//! Boxes futures before they are spawned: tokio's task code would be compiled for each type of future, and for each of
//! its two schedulers.

use std::pin::Pin;

/// A task that is started too seldom for a box to matter.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn boxed<T>(task: impl Future<Output = T> + Send + 'static) -> Boxed<T> {
    Box::pin(task)
}
