//! Readiness: the service has started, is not stopping, and its checks pass. Runs the checks in the background.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration as StdDuration, Instant};

use tokio::task::{AbortHandle, Id};

use super::Settings;
use super::check::{Check, Role};
use super::report::{ReadinessReport, Verdict};
use crate::boxed::boxed;
use crate::error::in_words;
use crate::settings::Duration;

/// Decides whether the service is ready. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Readiness(Arc<ReadinessState>);

struct ReadinessState {
    settings: Settings,
    created: Instant,
    started: OnceLock<Instant>,
    stopping: OnceLock<Instant>,
    checks: Mutex<BTreeMap<String, Verdict>>,
    /// The tasks that run the checks.
    tasks: Mutex<BTreeMap<String, AbortHandle>>,
}

impl Readiness {
    /// The readiness of a service that has not started, is not stopping and has no checks.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ReadinessState {
            settings,
            created: Instant::now(),
            started: OnceLock::new(),
            stopping: OnceLock::new(),
            checks: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Adds a check. It runs immediately, and then in the background as long as the runtime lives. The service is not
    /// ready until the check has succeeded, and while it is down.
    ///
    /// The same as [`Readiness::add`] with [`Role::Gate`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn check(&self, name: impl Into<String>, check: impl Check) {
        self.add(name, Role::Gate, check);
    }

    /// Adds a check that does not affect readiness: while it is down, the service stays ready. It is for a dependency
    /// that the service can do without, such as a cache. It is also for a database that all replicas share: if it is
    /// down, no other replica could serve instead.
    ///
    /// The same as [`Readiness::add`] with [`Role::Inform`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn inform(&self, name: impl Into<String>, check: impl Check) {
        self.add(name, Role::Inform, check);
    }

    /// Adds a check, whose role may come from the settings.
    ///
    /// The admin listener shows the error's text. A check of the same name is
    /// replaced. A run that panics has failed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn add(&self, name: impl Into<String>, role: Role, check: impl Check) {
        let name: String = name.into();
        let check = Arc::new(check);
        let (readiness, checked) = (self.clone(), name.clone());
        let repeat = async move {
            loop {
                let begun = Instant::now();
                let verdict = run(&check, *readiness.0.settings.timeout).await;
                let succeeded = verdict.is_ok();
                let own = tokio::task::id();
                let Some(up) = readiness.record_of(own, &checked, verdict, begun.elapsed()) else {
                    return;
                };
                // After a failure, and while the check is down, requests wait for the next result. So check more often.
                let pause = if up && succeeded {
                    *readiness.0.settings.interval
                } else {
                    readiness.retry()
                };
                tokio::time::sleep(pause).await;
            }
        };
        let mut tasks = self.tasks();
        if let Some(replaced) = tasks.remove(&name) {
            replaced.abort();
        }
        self.checks().insert(name.clone(), Verdict::pending(role));
        tasks.insert(name, tokio::spawn(boxed(repeat)).abort_handle());
    }

    /// Marks the service's own start as done.
    pub fn set_started(&self) {
        self.0.started.get_or_init(Instant::now);
    }

    /// Marks the service as stopping: it is not ready any more, whatever the checks' state.
    pub fn set_stopping(&self) {
        self.0.stopping.get_or_init(Instant::now);
    }

    /// Whether the service's own start is done.
    pub fn is_started(&self) -> bool {
        self.0.started.get().is_some()
    }

    /// Whether the service is ready: requests should be sent to it.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    /// The current verdict, with the results that led to it.
    pub(crate) fn report(&self) -> ReadinessReport {
        let stale = self.stale();
        let mut checks = self.checks().clone();
        for check in checks.values_mut() {
            check.expire(stale);
        }
        let (started, stopping) = (self.0.started.get(), self.0.stopping.get());
        let gates = || checks.values().filter(|check| check.role == Role::Gate);
        let down = gates().filter(|check| !check.up);
        let first_down = down.map(Verdict::since).min();
        let last_up = gates().map(Verdict::since).max();
        let since = match (stopping, started, first_down) {
            (Some(stopping), ..) => *stopping,
            (_, None, _) => self.0.created,
            (_, Some(started), Some(down)) => down.max(*started),
            (_, Some(started), None) => last_up.map_or(*started, |up| up.max(*started)),
        };
        ReadinessReport {
            ready: started.is_some() && stopping.is_none() && first_down.is_none(),
            started: started.is_some(),
            stopping: stopping.is_some(),
            since,
            checks,
        }
    }

    /// Records a run by the task `own`. Returns whether the check counts as up, or `None` if another check has replaced
    /// it: a task that has been aborted may still finish its run.
    fn record_of(
        &self,
        own: Id,
        name: &str,
        outcome: Result<(), String>,
        took: StdDuration,
    ) -> Option<bool> {
        // Locked until the verdict is recorded, so that no other check replaces this one in between.
        let tasks = self.tasks();
        (tasks.get(name)?.id() == own).then(|| self.record(name, outcome, took))
    }

    /// Records a run of a check. Returns whether the check counts as up.
    fn record(&self, name: &str, outcome: Result<(), String>, took: StdDuration) -> bool {
        let mut checks = self.checks();
        let Some(check) = checks.get_mut(name) else {
            return true;
        };
        let was_up = check.up;
        check.record(&self.0.settings, outcome, took);
        let (up, error) = (check.up, check.error.clone());
        // A new check is down before its first run, so its first failures are not a change.
        let was_never_up = check.changes.len() == 1;
        let fails_from_the_start =
            was_never_up && check.failures_total == u64::from(self.0.settings.failures);
        drop(checks);
        if up && !was_up {
            tracing::info!(check = name, "readiness check is up");
        } else if !up && (was_up || fails_from_the_start) {
            tracing::warn!(check = name, error, "readiness check is down");
        }
        up
    }

    /// The age at which a result is stale, because whole rounds of the check are missing.
    fn stale(&self) -> StdDuration {
        let Settings {
            interval,
            timeout,
            failures,
            ..
        } = &self.0.settings;
        (**interval + **timeout) * (*failures).max(2)
    }

    fn retry(&self) -> StdDuration {
        (*self.0.settings.interval).min(StdDuration::from_secs(1))
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<String, AbortHandle>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checks(&self) -> MutexGuard<'_, BTreeMap<String, Verdict>> {
        // Nothing panics while it holds the lock; if it did, the data would still be whole.
        self.0.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

async fn run(check: &Arc<impl Check>, timeout: StdDuration) -> Result<(), String> {
    let check = check.clone();
    // A task of its own, so that a run that blocks or panics, or an error whose `Display` panics, affects this check only.
    let mut task = tokio::spawn(boxed(async move { check.check().await.map_err(in_words) }));
    match tokio::time::timeout(timeout, &mut task).await {
        Ok(Ok(verdict)) => verdict.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("the check panicked".to_owned()),
        Err(_) => {
            task.abort();
            Err(format!("no response within {}", Duration::from(timeout)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn settings(failures: u32, successes: u32) -> Settings {
        Settings {
            failures,
            successes,
            ..Settings::default()
        }
    }

    #[test]
    fn a_check_goes_down_after_its_failures_and_up_after_its_successes() {
        let readiness = Readiness::new(settings(3, 2));
        readiness
            .checks()
            .insert("db".to_owned(), Verdict::pending(Role::Gate));
        let mut run = |ok: bool| {
            let verdict = if ok {
                Ok(())
            } else {
                Err("refused".to_owned())
            };
            readiness.record("db", verdict, StdDuration::ZERO)
        };
        let verdicts: Vec<_> = [
            true, true, false, false, true, false, false, false, true, true,
        ]
        .into_iter()
        .map(&mut run)
        .collect();
        assert_eq!(
            verdicts,
            [
                false, true, true, true, true, true, true, false, false, true
            ]
        );
    }

    #[test]
    fn readiness_requires_a_finished_start_passing_checks_and_no_shutdown() {
        let readiness = Readiness::new(settings(1, 1));
        assert_eq!(readiness.report().status(), "starting");
        readiness.set_started();
        assert_eq!(readiness.report().status(), "ready");
        readiness
            .checks()
            .insert("db".to_owned(), Verdict::pending(Role::Gate));
        assert_eq!(readiness.report().status(), "not ready");
        readiness.record("db", Ok(()), StdDuration::ZERO);
        assert!(readiness.is_ready());
        readiness.set_stopping();
        assert_eq!(readiness.report().status(), "stopping");
    }

    #[test]
    fn an_informational_check_is_shown_and_does_not_affect_readiness() {
        let readiness = Readiness::new(settings(1, 1));
        readiness.set_started();
        readiness
            .checks()
            .insert("cache".to_owned(), Verdict::pending(Role::Inform));
        readiness.record("cache", Err("refused".to_owned()), StdDuration::ZERO);
        assert!(readiness.is_ready());
        let json = readiness.report().to_json();
        assert_eq!(json["status"], "ready");
        assert_eq!(json["checks"]["cache"]["status"], "down");
        assert_eq!(json["checks"]["cache"]["role"], "inform");
        assert_eq!(json["checks"]["cache"]["error"], "refused");
    }

    #[test]
    fn an_outdated_result_counts_as_a_failure() {
        let quick = Settings {
            interval: Duration::from_millis(1),
            timeout: Duration::from_millis(1),
            ..settings(1, 1)
        };
        let readiness = Readiness::new(quick);
        readiness.set_started();
        let mut old = Verdict::pending(Role::Gate);
        old.up = true;
        old.checked = Instant::now() - StdDuration::from_secs(1);
        readiness.checks().insert("db".to_owned(), old);
        let report = readiness.report();
        assert!(!report.ready);
        let error = report.checks["db"].error.clone().expect("a reason");
        assert!(error.starts_with("has not been checked for"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_or_panics_fails() {
        let timeout = StdDuration::from_secs(2);
        let hangs = || std::future::pending::<Result<(), String>>();
        assert_eq!(
            run(&Arc::new(hangs), timeout).await,
            Err("no response within 2s".to_owned())
        );
        let panics = || async { panic!("boom") as Result<(), String> };
        assert_eq!(
            run(&Arc::new(panics), timeout).await,
            Err("the check panicked".to_owned())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_fails_is_repeated_soon() {
        let readiness = Readiness::new(settings(3, 1));
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        readiness.check("db", move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first { Ok(()) } else { Err("refused") } }
        });
        tokio::time::sleep(StdDuration::from_millis(6_900)).await;
        assert!(readiness.report().checks["db"].up);
        tokio::time::sleep(StdDuration::from_millis(200)).await;
        assert!(!readiness.report().checks["db"].up);
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_check_does_not_delay_another() {
        let readiness = Readiness::new(settings(1, 1));
        let runs = Arc::new(AtomicU64::new(0));
        readiness.check("slow", std::future::pending::<Result<(), String>>);
        let counted = runs.clone();
        readiness.check("quick", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, String>(()) }
        });
        tokio::time::sleep(StdDuration::from_secs(51)).await;
        assert_eq!(runs.load(Ordering::Relaxed), 11);
        let checks = readiness.report().checks;
        assert!(checks["quick"].up && !checks["slow"].up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_of_the_same_name_replaces_the_other() {
        let readiness = Readiness::new(settings(1, 1));
        readiness.check("db", async || Err::<(), _>("the old one"));
        readiness.check("db", async || Ok::<(), String>(()));
        tokio::time::sleep(StdDuration::from_secs(11)).await;
        let check = readiness.report().checks["db"].clone();
        assert_eq!((check.up, check.failures_total), (true, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_of_a_replaced_check_is_dropped() {
        let readiness = Readiness::new(settings(1, 1));
        let task = || readiness.tasks()["db"].id();
        let record =
            |own| readiness.record_of(own, "db", Err("late".to_owned()), StdDuration::ZERO);
        readiness.check("db", std::future::pending::<Result<(), String>>);
        let replaced = task();
        readiness.check("db", std::future::pending::<Result<(), String>>);
        assert_eq!(record(replaced), None);
        assert_eq!(readiness.report().checks["db"].failures_total, 0);
        assert_eq!(record(task()), Some(false));
        assert_eq!(readiness.report().checks["db"].failures_total, 1);
    }
}
