//! Retries a connection to a dependency until it succeeds or the time is over.

use std::time::Duration as StdDuration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::settings::Duration;

const FIRST_PAUSE: StdDuration = StdDuration::from_millis(100);
const LONGEST_PAUSE: StdDuration = StdDuration::from_secs(5);

/// The limit of the time that is spent waiting for a dependency.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryLimit {
    limit: StdDuration,
    /// The deadline during the start; `None` in a command, or if the limit is too long to compute a deadline.
    deadline: Option<Instant>,
}

impl RetryLimit {
    /// The deadline is a little earlier than the timeout of the start, so that the error can name the dependency.
    pub(super) fn of_start(limit: StdDuration) -> Self {
        let margin = (limit / 20).min(StdDuration::from_secs(1));
        Self {
            limit,
            deadline: Instant::now().checked_add(limit - margin),
        }
    }

    pub(super) fn of_command(limit: StdDuration) -> Self {
        Self {
            limit,
            deadline: None,
        }
    }

    pub(super) fn until(&self, started: bool) -> Option<Instant> {
        let from_here = || Instant::now().checked_add(self.limit);
        self.deadline.filter(|_| !started).or_else(from_here)
    }
}

/// Calls `attempt` until it succeeds, or until the time `until`. Without `until` there is no limit.
pub(super) async fn until<T>(
    name: &str,
    until: Option<Instant>,
    attempt: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut last: Option<anyhow::Error> = None;
    let tries = async {
        loop {
            let failure = match attempt().await {
                Ok(got) => return got,
                Err(failure) => failure,
            };
            let error = format!("{failure:#}");
            if last.is_none() {
                tracing::warn!(dependency = name, error, "waiting for a dependency");
            } else {
                tracing::debug!(dependency = name, error, "still waiting for a dependency");
            }
            last = Some(failure);
            tokio::time::sleep(backoff.pause()).await;
        }
    };
    let got = match until {
        Some(until) => tokio::time::timeout_at(until, tries).await,
        None => Ok(tries.await),
    };
    let waited = Duration::from_millis(begun.elapsed().as_millis() as u64);
    match got {
        Ok(got) => {
            if last.is_some() {
                tracing::info!(dependency = name, %waited, "dependency available");
            }
            Ok(got)
        }
        Err(_) => {
            let last = last.unwrap_or_else(|| anyhow::anyhow!("no response"));
            Err(last.context(format!("{name}: not available after {waited}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_dependency_is_awaited() {
        let tries = Cell::new(0);
        let attempt = async || {
            tries.set(tries.get() + 1);
            anyhow::ensure!(tries.get() > 5, "refused");
            Ok("here")
        };
        let retry_limit = RetryLimit::of_start(StdDuration::from_secs(60));
        let got = until("database", retry_limit.until(false), attempt).await;
        assert_eq!(got.expect("in time"), "here");
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_dependency_is_named_before_the_start_times_out() {
        let limit = StdDuration::from_secs(60);
        let retry_limit = RetryLimit::of_start(limit);
        let begun = Instant::now();
        let refused = async || anyhow::Result::<()>::Err(anyhow::anyhow!("refused"));
        let error = until("database", retry_limit.until(false), refused).await;
        assert!(begun.elapsed() < limit);
        let said = format!("{:#}", error.expect_err("nobody comes"));
        assert_eq!(said, "database: not available after 59s: refused");

        let silent = async || std::future::pending::<anyhow::Result<()>>().await;
        let error = until("database", retry_limit.until(true), silent).await;
        let said = format!("{:#}", error.expect_err("nobody answers"));
        assert_eq!(said, "database: not available after 1m: no response");
    }
}
