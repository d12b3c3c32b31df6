//! The shutdown hooks, which run after the last request.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::boxed::{Boxed, boxed};

type Act = Box<dyn FnOnce() -> Boxed<anyhow::Result<()>> + Send>;

/// The registered hooks, in the order of their registration.
#[derive(Default)]
pub(crate) struct Hooks(Vec<(String, Act)>);

impl Hooks {
    pub(crate) fn push<F, Fut>(&mut self, name: String, act: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.0.push((name, Box::new(move || boxed(act()))));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the hooks in reverse order of registration. Each may take at most the time `each`, and all end at
    /// `deadline`.
    ///
    /// If a hook fails, panics or takes too long, this is logged, and the next hook runs. Returns the number of hooks
    /// that failed in one of these ways.
    ///
    /// The hooks run on the runtime `service`, their timeouts on the runtime of the caller.
    pub(crate) async fn run(self, each: Duration, deadline: Instant, service: &Handle) -> usize {
        let mut failed = 0;
        for (hook, act) in self.0.into_iter().rev() {
            let until = deadline.min(Instant::now() + each);
            // Each hook runs as a task of its own, so that a panic fails only this hook.
            let mut task = service.spawn(boxed(async move { act().await }));
            let problem = match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => format!("{error:#}"),
                Ok(Err(panic)) => panic.to_string(),
                Err(_) => {
                    task.abort();
                    "timed out".to_owned()
                }
            };
            failed += 1;
            tracing::error!(hook, error = problem, "shutdown hook failed");
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hooks_run_in_reverse_order_and_a_failing_one_does_not_stop_the_rest() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut hooks = Hooks::default();
        let note = |name: &'static str| {
            let order = order.clone();
            move || async move {
                order.lock().expect("not poisoned").push(name);
                match name {
                    "hangs" => std::future::pending().await,
                    "fails" => anyhow::bail!("no"),
                    "panics" => panic!("no"),
                    _ => Ok(()),
                }
            }
        };
        for name in ["first", "hangs", "fails", "panics", "last"] {
            hooks.push(name.to_owned(), note(name));
        }
        let begun = Instant::now();
        let failed = hooks
            .run(
                Duration::from_secs(3),
                begun + Duration::from_secs(25),
                &Handle::current(),
            )
            .await;
        assert_eq!(
            *order.lock().expect("not poisoned"),
            ["last", "panics", "fails", "hangs", "first"]
        );
        assert_eq!(failed, 3);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_hook_outlives_the_deadline() {
        let mut hooks = Hooks::default();
        for _ in 0..10 {
            hooks.push("hangs".to_owned(), std::future::pending);
        }
        let begun = Instant::now();
        let failed = hooks
            .run(
                Duration::from_secs(3),
                begun + Duration::from_secs(4),
                &Handle::current(),
            )
            .await;
        assert_eq!((failed, begun.elapsed()), (10, Duration::from_secs(4)));
    }
}
