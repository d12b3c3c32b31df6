//! What can be asked whether it answers.

use std::fmt;
use std::future::Future;

/// Whether something that the service depends on answers.
///
/// A store implements it once; a closure that returns a future of a `Result` is one as well.
///
/// ```
/// use axum_chassis::health::{Check, Readiness};
///
/// #[derive(Clone)]
/// struct Store;
///
/// impl Check for Store {
///     async fn check(&self) -> anyhow::Result<()> {
///         Ok(()) // ask it something that costs little
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let readiness = Readiness::new(axum_chassis::health::Settings::default());
/// let store = Store;
/// readiness.check("store", store.clone());
/// readiness.check("disk", async || std::fs::metadata("/tmp").map(drop));
/// # }
/// ```
pub trait Check: Send + Sync + 'static {
    /// Asks it. The error's text is shown to whoever asks the admin listener.
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl<C, F, E> Check for C
where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send,
    E: fmt::Display,
{
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        let verdict = self();
        // With the causes of an error that has some.
        async {
            let verdict = verdict.await;
            verdict.map_err(|error| anyhow::Error::msg(format!("{error:#}")))
        }
    }
}
