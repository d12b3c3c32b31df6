//! Boxes futures before they are spawned. Otherwise tokio's task code would be compiled for each type of future, and
//! for each of its two schedulers.

use std::pin::Pin;

/// A boxed task. The box costs nothing that matters, because such tasks are started rarely.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn boxed<T>(task: impl Future<Output = T> + Send + 'static) -> Boxed<T> {
    Box::pin(task)
}
