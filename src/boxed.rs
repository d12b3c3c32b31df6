//! Boxes futures before they are spawned. Otherwise tokio's task code would be compiled twice for each type of
//! future: once for each of tokio's two schedulers.

use std::pin::Pin;

/// A boxed task. The cost of the box does not matter, because such tasks are started rarely.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn boxed<T>(task: impl Future<Output = T> + Send + 'static) -> Boxed<T> {
    Box::pin(task)
}
