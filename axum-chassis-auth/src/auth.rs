//! [`Auth`], the check of a service's tokens, and its start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use axum_chassis::Chassis;
use axum_chassis::metrics::Metrics;
use axum_chassis::settings::ValidationErrors;
use axum_chassis::shutdown::Shutdown;
use http::HeaderMap;

use crate::access_line::AccessLine;
use crate::crypto;
use crate::outcome::Outcome;
use crate::settings::Settings;
use crate::source::Source;
use crate::store::KeyStore;
use crate::token::{Rules, VerifiedToken, bearer};

/// The check of bearer tokens. Cheap to clone; clones share the keys.
///
/// [`Auth::layer`] and [`Auth::require`] return layers for routes.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    rules: Rules,
    keys: KeyStore,
    shutdown: Shutdown,
    required_scopes: Vec<String>,
    /// The claim that access lines have.
    log_claim: Option<&'static str>,
    retry_after: std::time::Duration,
    /// The number of checks by outcome.
    counts: [AtomicU64; Outcome::ALL.len()],
}

/// Waits until the keys of the token issuer are available, and refreshes them in the background from then on.
///
/// `name` is the key in the service's settings, such as `auth`. It is also the name of the readiness check and of the
/// background task, and the label `auth` of the metrics.
///
/// # Errors
/// If the settings are invalid, or if the keys are not available within `service.start_timeout`.
pub async fn auth<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<Auth> {
    let mut errors = ValidationErrors::default();
    errors.within(name, settings);
    if !errors.is_empty() {
        return Err(errors.into());
    }
    crypto::install();
    let source = Source::new(settings).with_context(|| name.to_owned())?;
    let keys = chassis.wait_for(name, || source.load()).await?;
    let auth = Auth(Arc::new(Inner {
        rules: Rules::new(settings),
        keys: KeyStore::new(source, keys, settings),
        shutdown: chassis.shutdown().clone(),
        required_scopes: settings.required_scopes.clone(),
        // A field's name has to be static. It is leaked once per start.
        log_claim: (!settings.log_claim.is_empty()).then(|| &*settings.log_claim.clone().leak()),
        retry_after: *settings.refresh_cooldown,
        counts: Default::default(),
    }));
    auth.register(chassis.metrics(), name)?;
    chassis.observe(AccessLine);
    let refreshed = auth.clone();
    chassis.spawn(name, move |shutdown| {
        let auth = refreshed.clone();
        async move {
            auth.0.keys.keep_fresh(shutdown).await;
            Ok(())
        }
    });
    let checked = auth.clone();
    let check = move || std::future::ready(checked.0.keys.check());
    chassis.readiness().add(name, settings.readiness, check);
    Ok(auth)
}

impl Auth {
    /// Checks the token of a request, and counts the outcome.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Result<VerifiedToken, Outcome> {
        let Inner {
            rules,
            keys,
            shutdown,
            ..
        } = &*self.0;
        let checked = match bearer(headers) {
            Ok(token) => rules.check(token, keys, shutdown).await,
            Err(outcome) => Err(outcome),
        };
        self.count(*checked.as_ref().err().unwrap_or(&Outcome::Accepted));
        checked
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.0.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether both are clones of the same value.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The scopes that every token needs.
    pub(crate) fn required_scopes(&self) -> &[String] {
        &self.0.required_scopes
    }

    /// The claim that access lines have.
    pub(crate) fn log_claim(&self) -> Option<&'static str> {
        self.0.log_claim
    }

    /// The value of `Retry-After` while the keys are not available.
    pub(crate) fn retry_after(&self) -> std::time::Duration {
        self.0.retry_after
    }

    fn register(&self, metrics: &Metrics, name: &str) -> anyhow::Result<()> {
        for outcome in Outcome::ALL {
            let auth = self.clone();
            metrics.counter_fn(
                "auth_checks_total",
                "Checks of requests' bearer tokens, by outcome.",
                &[("auth", name), ("outcome", outcome.word())],
                move || auth.0.counts[outcome as usize].load(Ordering::Relaxed) as f64,
            )?;
        }
        type Count = fn(&KeyStore) -> &AtomicU64;
        let fetches: [(&str, Count); 2] = [
            ("succeeded", |keys| &keys.fetched),
            ("failed", |keys| &keys.failed),
        ];
        for (outcome, count) in fetches {
            let auth = self.clone();
            metrics.counter_fn(
                "auth_key_fetches_total",
                "Fetches of the token issuer's keys, by outcome.",
                &[("auth", name), ("outcome", outcome)],
                move || count(&auth.0.keys).load(Ordering::Relaxed) as f64,
            )?;
        }
        let auth = self.clone();
        metrics.gauge_fn(
            "auth_keys",
            "Keys of the token issuer that can verify tokens.",
            &[("auth", name)],
            move || auth.0.keys.size_and_age().0 as f64,
        )?;
        let auth = self.clone();
        metrics.gauge_fn(
            "auth_keys_age_seconds",
            "Time since the last successful fetch of the token issuer's keys.",
            &[("auth", name)],
            move || auth.0.keys.size_and_age().1.as_secs_f64(),
        )?;
        Ok(())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, age) = self.0.keys.size_and_age();
        f.debug_struct("Auth")
            .field("keys", &keys)
            .field("age", &age)
            .finish_non_exhaustive()
    }
}
