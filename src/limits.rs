//! Limits of requests: timeout, body size, concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration as StdDuration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{Duration, Problems, Size, Validate};

/// `[limits]`: bounds on requests. All of them can be changed while the service runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// How long a request may take until its response begins: 504 after it, or 408 where the
    /// client has not sent all of its body by then. 0s means for ever.
    pub request_timeout: Duration,
    /// How large a request body may be that an extractor buffers (JSON, form, bytes, text): 413
    /// beyond it. A route may set its own with axum's `DefaultBodyLimit`.
    pub body: Size,
    /// How many requests may be under way at once: 503 with Retry-After beyond it. 0 means any
    /// number. Health routes are exempt.
    pub concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            body: Size::from_mib(2),
            concurrency: 10_000,
        }
    }
}

impl Validate for Settings {
    fn validate(&self, _: &mut Problems) {}
}

/// The limits in force. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    request_timeout_ms: AtomicU64,
    body: AtomicU64,
    concurrency: AtomicU64,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limits = Self(Arc::default());
        limits.set(settings);
        limits
    }

    /// Puts new limits in force, for requests to come.
    pub(crate) fn set(&self, settings: &Settings) {
        let timeout = u64::try_from(settings.request_timeout.as_millis()).unwrap_or(u64::MAX);
        self.0.request_timeout_ms.store(timeout, Ordering::Relaxed);
        self.0.body.store(settings.body.bytes(), Ordering::Relaxed);
        let concurrency = u64::try_from(settings.concurrency).unwrap_or(u64::MAX);
        self.0.concurrency.store(concurrency, Ordering::Relaxed);
    }

    pub(crate) fn request_timeout(&self) -> Option<StdDuration> {
        match self.0.request_timeout_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(StdDuration::from_millis(ms)),
        }
    }

    pub(crate) fn body(&self) -> usize {
        usize::try_from(self.0.body.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether there is room for one more request beside so many.
    pub(crate) fn admit(&self, under_way: u64) -> bool {
        let most = self.0.concurrency.load(Ordering::Relaxed);
        most == 0 || under_way < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_over_the_limit_is_turned_away() {
        let limits = Limits::new(&Settings {
            concurrency: 2,
            ..Settings::default()
        });
        assert!(limits.admit(1));
        assert!(!limits.admit(2));
    }

    #[test]
    fn zero_means_no_limit() {
        let limits = Limits::new(&Settings {
            concurrency: 0,
            request_timeout: Duration::from_secs(0),
            ..Settings::default()
        });
        assert!(limits.admit(u64::MAX));
        assert_eq!(limits.request_timeout(), None);
    }
}
