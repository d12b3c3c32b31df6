//! Limits of requests: timeout, body size, concurrency, connections, memory for bodies.
//!
//! **The server of this crate applies only the limit on connections.** The others are values for a layer around the
//! routes, such as `RequestLayer` of axum-chassis. Without such a layer, nothing enforces them.
//!
//! Limits that are not set derive from the container's memory limit. Otherwise clients could make the process exceed
//! its memory limit, and it would be killed.
//!
//! | limit | from the memory limit M | M = 128 MiB | without a memory limit |
//! |---|---|---|---|
//! | `server.max_connections` | M / 512 KiB | 256 | 10,000 |
//! | `limits.concurrency` | M / 512 KiB | 256 | 10,000 |
//! | `limits.buffered` | M / 8 | 16 MiB | none |
//!
//! An idle connection takes about 20 KiB of memory. Over HTTP/1, a large response adds 66 KiB until the connection closes,
//! and a streamed one up to 128 KiB. A connection with the largest head, followed by a body, takes 128
//! KiB. An HTTP/2 connection that has had 100 streams at once takes 230 KiB. `tests/e2e/tests/memory.rs` measures how
//! much memory clients can make the process use.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use axum_chassis_settings::{Duration, Size, Validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, MemoryLimit};

/// `[limits]`: bounds on requests. All of them can be changed while the service runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// Timeout of a request until its response begins: 504 after it, or 408 if the client has not sent its whole body by
    /// then. 0s disables it.
    pub request_timeout: Duration,
    /// The maximum size of a request body that an extractor buffers (JSON, form, bytes, text): 413 beyond it. A route may
    /// set its own with axum's `DefaultBodyLimit`.
    pub body: Size,
    /// The maximum number of concurrent requests: 503 with Retry-After beyond it. 0 disables it. Health routes are exempt.
    /// Unset, it is 10,000, or less where the container's memory limit is below 5 GiB.
    pub concurrency: Option<usize>,
    /// The maximum size of all request bodies in memory: 503 with Retry-After beyond it. The first 16 KiB of each body do
    /// not count. 0 disables it. Unset, it is an eighth of the container's memory limit.
    pub buffered: Option<Size>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            body: Size::from_mib(2),
            concurrency: None,
            buffered: None,
        }
    }
}

impl Validate for Settings {}

/// The maximum number of connections, and of requests, if the container has no memory limit or a large one.
const MOST: u64 = 10_000;
/// The memory that a container has to have for each connection, or request, that is accepted.
const FOR_EACH: u64 = 512 * 1024;
/// The smallest derived limit, for any container.
const FEWEST: u64 = 16;

/// The limits in force, which can be changed while the server runs. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Limits(Arc<LimitValues>);

#[derive(Debug, Default)]
struct LimitValues {
    request_timeout_ms: AtomicU64,
    body: AtomicU64,
    concurrency: AtomicU64,
    connections: AtomicU64,
    /// 0 for no limit.
    buffered_limit: AtomicU64,
    buffered: AtomicU64,
    from: Mutex<From>,
}

/// The inputs of the limits.
#[derive(Debug, Default)]
struct From {
    settings: Settings,
    connections: Option<usize>,
    memory: Option<MemoryLimit>,
}

impl Limits {
    /// The limits in the settings. Limits that are not set depend on the container's memory limit. `connections` is `server.max_connections`.
    pub fn new(settings: &Settings, connections: Option<usize>) -> Self {
        Self::with(settings, connections, cgroup::memory_limit())
    }

    fn with(settings: &Settings, connections: Option<usize>, memory: Option<MemoryLimit>) -> Self {
        let limits = Self(Arc::default());
        limits.change(|from| {
            *from = From {
                settings: settings.clone(),
                connections,
                memory,
            };
        });
        limits
    }

    /// Applies new limits to future requests.
    pub fn set(&self, settings: &Settings) {
        self.change(|from| from.settings = settings.clone());
    }

    /// Reads the memory limit again: Kubernetes resizes containers in place. Returns whether the limit has changed.
    pub fn follow(&self) -> bool {
        // If the file cannot be read now, for example without file descriptors, the limit stays.
        let Some(memory) = cgroup::memory_limit() else {
            return false;
        };
        let mut has_changed = false;
        self.change(|from| {
            let before = from.memory.replace(memory);
            has_changed = from.memory != before;
        });
        has_changed
    }

    fn change(&self, change: impl FnOnce(&mut From)) {
        let values = &*self.0;
        let mut from = values.from.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut from);
        let From { settings, .. } = &*from;
        let timeout = u64::try_from(settings.request_timeout.as_millis()).unwrap_or(u64::MAX);
        for (value, now) in [
            (&values.request_timeout_ms, timeout),
            (&values.body, settings.body.bytes()),
            (&values.concurrency, from.concurrency()),
            (&values.connections, from.connections()),
            (&values.buffered_limit, from.buffered()),
        ] {
            value.store(now, Ordering::Relaxed);
        }
    }

    /// The timeout of requests without a timeout of their route. `None` if it is disabled.
    #[inline]
    pub fn request_timeout(&self) -> Option<StdDuration> {
        match self.0.request_timeout_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(StdDuration::from_millis(ms)),
        }
    }

    /// The maximum size, in bytes, of a request body that an extractor buffers.
    #[inline]
    pub fn body(&self) -> usize {
        usize::try_from(self.0.body.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The maximum number of open connections.
    pub(crate) fn connections(&self) -> usize {
        usize::try_from(self.0.connections.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The maximum number of concurrent requests; 0 for any number.
    #[inline]
    pub fn concurrency(&self) -> u64 {
        self.0.concurrency.load(Ordering::Relaxed)
    }

    /// Whether one more request may start while this many are in flight.
    #[inline]
    pub fn admit(&self, under_way: u64) -> bool {
        let most = self.concurrency();
        most == 0 || under_way < most
    }

    /// The maximum size of all request bodies in memory, in bytes; 0 for any size.
    #[inline]
    pub fn buffered_limit(&self) -> u64 {
        self.0.buffered_limit.load(Ordering::Relaxed)
    }

    /// The size of all request bodies in memory, in bytes.
    pub fn buffered(&self) -> u64 {
        self.0.buffered.load(Ordering::Relaxed)
    }

    /// Counts bytes of a body that are in memory from now on, if there is room for them. Returns whether there is.
    pub(crate) fn hold(&self, bytes: u64) -> bool {
        let before = self.0.buffered.fetch_add(bytes, Ordering::Relaxed);
        let limit = self.buffered_limit();
        let fits = limit == 0 || before.saturating_add(bytes) <= limit;
        if !fits {
            self.let_go(bytes);
        }
        fits
    }

    /// Records that these bytes are not in memory any more.
    pub(crate) fn let_go(&self, bytes: u64) {
        self.0.buffered.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The limits that may depend on the memory limit, each with the reason for its value.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.0.from.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |number: u64| match number {
            0 => "any number".to_owned(),
            number => number.to_string(),
        };
        let buffered = match from.buffered() {
            0 => "any number".to_owned(),
            bytes => Size(bytes).to_string(),
        };
        for (key, is_set, value) in [
            (
                "server.max_connections",
                from.connections.is_some(),
                number(from.connections()),
            ),
            (
                "limits.concurrency",
                from.settings.concurrency.is_some(),
                number(from.concurrency()),
            ),
            (
                "limits.buffered",
                from.settings.buffered.is_some(),
                buffered,
            ),
        ] {
            let reason = match (is_set, &from.memory) {
                (true, _) => "set".to_owned(),
                (false, Some(MemoryLimit { bytes, source })) => {
                    format!("memory limit of {} in {}", Size(*bytes), source.display())
                }
                (false, None) => "no memory limit".to_owned(),
            };
            writeln!(f, "{key} = {value} ({reason})")?;
        }
        Ok(())
    }
}

impl From {
    fn concurrency(&self) -> u64 {
        match self.settings.concurrency {
            Some(set) => u64::try_from(set).unwrap_or(u64::MAX),
            None => self.number(),
        }
    }

    fn connections(&self) -> u64 {
        match self.connections {
            Some(set) => u64::try_from(set).unwrap_or(u64::MAX),
            None => self.number(),
        }
    }

    fn buffered(&self) -> u64 {
        match (self.settings.buffered, &self.memory) {
            (Some(set), _) => set.bytes(),
            (None, Some(memory)) => (memory.bytes / 8).max(1),
            (None, None) => 0,
        }
    }

    fn number(&self) -> u64 {
        let memory = self.memory.as_ref();
        memory.map_or(MOST, |memory| (memory.bytes / FOR_EACH).clamp(FEWEST, MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(memory: Option<u64>, settings: &Settings, connections: Option<usize>) -> Limits {
        let memory = memory.map(|bytes| MemoryLimit {
            bytes,
            source: "/memory.max".into(),
        });
        Limits::with(settings, connections, memory)
    }

    #[test]
    fn limits_that_are_not_set_fit_the_memory_of_the_container() {
        for (memory, number, buffered) in [
            (None, 10_000, 0),
            (Some(1 << 20), 16, 1 << 17),
            (Some(64 << 20), 128, 8 << 20),
            (Some(128 << 20), 256, 16 << 20),
            (Some(16 << 30), 10_000, 2 << 30),
        ] {
            let limits = of(memory, &Settings::default(), None);
            assert_eq!(limits.connections(), number, "{memory:?}");
            assert_eq!(limits.concurrency(), number as u64, "{memory:?}");
            assert_eq!(limits.buffered_limit(), buffered, "{memory:?}");
        }
        let set = Settings {
            concurrency: Some(7),
            buffered: Some(Size(8)),
            ..Settings::default()
        };
        let limits = of(Some(64 << 20), &set, Some(9));
        assert_eq!(
            limits.to_string(),
            "server.max_connections = 9 (set)\n\
             limits.concurrency = 7 (set)\n\
             limits.buffered = 8B (set)\n"
        );
        let limits = of(Some(64 << 20), &Settings::default(), None);
        assert_eq!(
            limits.to_string(),
            "server.max_connections = 128 (memory limit of 64MiB in /memory.max)\n\
             limits.concurrency = 128 (memory limit of 64MiB in /memory.max)\n\
             limits.buffered = 8MiB (memory limit of 64MiB in /memory.max)\n"
        );
    }

    #[test]
    fn bytes_are_reserved_up_to_the_limit() {
        let settings = Settings {
            buffered: Some(Size(10)),
            ..Settings::default()
        };
        let limits = of(None, &settings, None);
        assert!(limits.hold(6));
        assert!(!limits.hold(5));
        assert!(limits.hold(4));
        limits.let_go(10);
        assert_eq!(limits.buffered(), 0);
    }

    #[test]
    fn a_request_over_the_limit_is_rejected() {
        let settings = Settings {
            concurrency: Some(2),
            ..Settings::default()
        };
        let limits = of(None, &settings, None);
        assert!(limits.admit(1));
        assert!(!limits.admit(2));
    }

    #[test]
    fn zero_means_no_limit() {
        let settings = Settings {
            concurrency: Some(0),
            buffered: Some(Size(0)),
            request_timeout: Duration::from_secs(0),
            ..Settings::default()
        };
        let limits = of(Some(64 << 20), &settings, None);
        assert!(limits.admit(u64::MAX));
        assert!(limits.hold(u64::MAX / 2));
        assert_eq!(limits.request_timeout(), None);
    }
}
