//! The trait of a readiness check.

use std::fmt;
use std::future::Future;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The effect of a check on readiness. Either way its state is in `/health/readiness`, in the metrics and on the admin page.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// While it is down the service is not ready: a load balancer sends no requests here.
    #[default]
    Gate,
    /// No effect: the service stays ready, and requests that need the dependency fail.
    Inform,
}

/// Checks whether a dependency of the service responds.
///
/// Implement it once for a store, or use a closure that returns a future of a `Result`.
///
/// ```
/// use axum_chassis::health::{Check, Readiness};
///
/// #[derive(Clone)]
/// struct Store;
///
/// impl Check for Store {
///     async fn check(&self) -> anyhow::Result<()> {
///         Ok(()) // a cheap request
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let readiness = Readiness::new(axum_chassis::health::Settings::default());
/// let store = Store;
/// readiness.check("store", store.clone());
/// // A cache: without it the service is slower, and goes on.
/// readiness.inform("cache", async || std::fs::metadata("/var/cache").map(drop));
/// readiness.check("disk", async || std::fs::metadata("/tmp").map(drop));
/// # }
/// ```
pub trait Check: Send + Sync + 'static {
    /// Runs the check. The admin listener shows the error's text.
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
        // The text includes the causes of the error.
        async {
            let verdict = verdict.await;
            verdict.map_err(|error| anyhow::Error::msg(format!("{error:#}")))
        }
    }
}
