//! Results of readiness checks: of one check, and a report of all.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration as StdDuration, Instant};

use super::Settings;
use super::check::Role;
use crate::settings::Duration;
use crate::settings::redact_secrets;

/// The number of changes between up and down that are kept for each check.
const CHANGES: usize = 10;

/// The state of one check.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) role: Role,
    pub(crate) up: bool,
    /// The error of the last failed run.
    pub(crate) error: Option<String>,
    /// The duration of the last run.
    pub(crate) took: StdDuration,
    pub(crate) failures_total: u64,
    /// The times of changes between up and down, oldest first, beginning with its registration.
    pub(crate) changes: VecDeque<(Instant, bool)>,
    /// The time and the error of the last failed run, even if the check is up again.
    pub(crate) last_failure: Option<(Instant, String)>,
    in_a_row: u32,
    last_succeeded: bool,
    pub(super) checked: Instant,
}

impl Verdict {
    /// The state of a check that has not run yet.
    pub(super) fn pending(role: Role) -> Self {
        Self {
            role,
            up: false,
            error: Some("has not been checked yet".to_owned()),
            took: StdDuration::ZERO,
            failures_total: 0,
            changes: VecDeque::from([(Instant::now(), false)]),
            last_failure: None,
            in_a_row: 0,
            last_succeeded: true,
            checked: Instant::now(),
        }
    }

    /// The time since which the check is up, or down.
    pub(crate) fn since(&self) -> Instant {
        self.changes
            .back()
            .map_or(self.checked, |(since, _)| *since)
    }

    /// Records a run: the check is down after `failures` failures in a row, and up after `successes` successes.
    pub(super) fn record(
        &mut self,
        settings: &Settings,
        outcome: Result<(), String>,
        took: StdDuration,
    ) {
        let succeeded = outcome.is_ok();
        self.in_a_row = if self.last_succeeded == succeeded {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        self.last_succeeded = succeeded;
        self.failures_total += u64::from(!succeeded);
        self.took = took;
        self.checked = Instant::now();
        // The admin listener shows the error, so it must not contain secrets.
        let error = outcome.err();
        self.error = error.map(|error| redact_secrets(&error).into_owned());
        if let Some(error) = &self.error {
            self.last_failure = Some((self.checked, error.clone()));
        }
        match succeeded {
            true if self.in_a_row >= settings.successes => self.turn(true, self.checked),
            false if self.in_a_row >= settings.failures => self.turn(false, self.checked),
            _ => {}
        }
    }

    fn turn(&mut self, up: bool, at: Instant) {
        if self.up != up {
            self.up = up;
            self.changes.push_back((at, up));
            if self.changes.len() > CHANGES {
                self.changes.pop_front();
            }
        }
    }

    /// Marks the check as down if its last run is longer ago than `stale`.
    pub(super) fn expire(&mut self, stale: StdDuration) {
        let age = self.checked.elapsed();
        if self.up && age > stale {
            self.turn(false, self.checked + stale);
            self.error = Some(format!("has not been checked for {}", Duration::from(age)));
        }
    }
}

/// The verdict at one moment, with the results of the checks.
#[derive(Clone, Debug)]
pub(crate) struct ReadinessReport {
    pub(crate) ready: bool,
    pub(crate) started: bool,
    pub(crate) stopping: bool,
    /// The time since which [`ReadinessReport::status`] has had its value.
    #[cfg_attr(
        not(feature = "admin-page"),
        expect(dead_code, reason = "for the admin page")
    )]
    pub(crate) since: Instant,
    pub(crate) checks: BTreeMap<String, Verdict>,
}

impl ReadinessReport {
    /// The verdict in one or two words.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self { ready: true, .. } => "ready",
            Self { stopping: true, .. } => "stopping",
            Self { started: false, .. } => "starting",
            _ => "not ready",
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let checks: serde_json::Map<_, _> = self
            .checks
            .iter()
            .map(|(name, check)| {
                let value = serde_json::json!({
                    "status": if check.up { "up" } else { "down" },
                    "role": check.role,
                    "error": check.error,
                    "duration_ms": check.took.as_micros() as f64 / 1e3,
                    "age_seconds": check.checked.elapsed().as_secs_f64(),
                });
                (name.clone(), value)
            })
            .collect();
        serde_json::json!({ "status": self.status(), "checks": checks })
    }
}
