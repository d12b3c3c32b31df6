//! Hot reload: applies changed settings while the service runs.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::Admin;
use crate::chassis_settings::{ChassisSettings, LoadedSettings};
use crate::error::Error;
use crate::metrics::{Counter, Family, Gauge, InvalidMetric};
use crate::settings::{self, Effective, Fault, Invalid, SettingsSchema, Sources};

/// The keys (or their prefixes) of the chassis that take effect without a restart. The service's own keys all do,
/// through [`Chassis::watch`](super::Chassis::watch).
const RELOADABLE: [&str; 2] = ["logs.filter", "limits."];
/// The sections of the chassis. All other keys are the service's own.
const SECTIONS: [&str; 7] = [
    "server.",
    "admin.",
    "health.",
    "logs.",
    "limits.",
    "shutdown.",
    "service.",
];

/// Watches the sources of the settings until it is dropped.
#[derive(Default)]
pub(super) struct Reload {
    _watcher: Option<settings::Watcher>,
}

impl Reload {
    pub(super) fn watch<S: SettingsSchema>(
        sources: Sources,
        in_force: Effective,
        admin: Arc<Admin>,
        service: watch::Sender<Arc<S>>,
    ) -> Result<Self, Error> {
        let mut current = Current::new(in_force, admin, service)?;
        let watcher =
            settings::watch::<ChassisSettings, S>(sources, move |loaded| current.replace(loaded));
        if let Err(error) = &watcher {
            tracing::warn!(%error, "cannot watch the settings: changes need a restart");
        }
        Ok(Self {
            _watcher: watcher.ok(),
        })
    }
}

/// Logs warnings about settings, such as deprecated names.
pub(super) fn warn(warnings: &[Fault]) {
    for warning in warnings {
        tracing::warn!(
            key = warning.key,
            origin = warning.origin,
            "{}",
            warning.message
        );
    }
}

struct Current<S> {
    in_force: Effective,
    admin: Arc<Admin>,
    service: watch::Sender<Arc<S>>,
    reloads: Family<Counter, 1>,
    last_success: Gauge,
}

impl<S: SettingsSchema> Current<S> {
    fn new(
        in_force: Effective,
        admin: Arc<Admin>,
        service: watch::Sender<Arc<S>>,
    ) -> Result<Self, InvalidMetric> {
        let metrics = &admin.shared.metrics;
        let reloads = metrics.counter_with(
            "settings_reload_total",
            "Changes of the settings' files: applied, rejected, or waiting for a restart.",
            ["result"],
        )?;
        for result in ["applied", "rejected", "needs_restart"] {
            reloads.with([result]);
        }
        let last_success = metrics.gauge(
            "settings_reload_last_success_timestamp_seconds",
            "When settings were last taken over, at the start or since.",
        )?;
        last_success.set(seconds_since_epoch());
        Ok(Self {
            in_force,
            admin,
            service,
            reloads,
            last_success,
        })
    }

    fn replace(&mut self, loaded: Result<LoadedSettings<S>, Invalid>) {
        match loaded {
            Ok(loaded) => self.take_over(loaded),
            Err(invalid) => {
                self.count("rejected");
                tracing::error!(error = %invalid, "invalid settings: the previous ones stay in force");
            }
        }
    }

    fn take_over(&mut self, loaded: LoadedSettings<S>) {
        warn(&self.in_force.adopt_warnings(&loaded.effective));
        let changed = loaded.effective.diff(&self.in_force);
        if changed.is_empty() {
            return;
        }
        let (now, later): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| is_reloadable(key));
        if !later.is_empty() {
            self.count("needs_restart");
            tracing::warn!(keys = later.join(", "), "changed settings need a restart");
        }
        if now.is_empty() {
            return;
        }
        self.admin.shared.limits.set(&loaded.framework.limits);
        // This cannot fail, because the filter was validated with the rest of the settings.
        let _ = self.admin.filter.set_base(&loaded.framework.logs.filter);
        if now.iter().any(|key| !is_of_the_chassis(key)) {
            self.service.send_replace(Arc::new(loaded.service.clone()));
        }
        self.in_force.adopt(&loaded.effective, &now);
        self.admin.set_effective(self.in_force.clone());
        self.count("applied");
        self.last_success.set(seconds_since_epoch());
        tracing::info!(keys = now.join(", "), "changed settings are in force");
    }

    fn count(&self, result: &str) {
        self.reloads.with([result]).inc();
    }
}

fn is_reloadable(key: &str) -> bool {
    RELOADABLE.iter().any(|start| key.starts_with(start)) || !is_of_the_chassis(key)
}

fn is_of_the_chassis(key: &str) -> bool {
    SECTIONS.iter().any(|section| key.starts_with(section))
}

fn seconds_since_epoch() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
