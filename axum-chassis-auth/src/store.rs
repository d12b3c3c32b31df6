//! The keys in use, and the background task that refreshes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use axum_chassis::shutdown::Shutdown;
use jsonwebtoken::Algorithm;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::keys::{Key, KeySet};
use crate::settings::Settings;
use crate::source::Source;

/// The maximum number of requests that wait for the keys. After a rotation, a refresh takes some 100 ms.
const MAX_WAITING: usize = 256;

pub(crate) struct KeyStore {
    source: Source,
    state: watch::Sender<KeyState>,
    /// Requests the background task to refresh the keys now.
    wanted: Notify,
    interval: Duration,
    cooldown: Duration,
    max_age: Duration,
    /// The requests that may wait for a refresh at the same time.
    waiting: Semaphore,
    /// The longest time that a request waits for a refresh.
    patience: Duration,
    pub(crate) fetched: AtomicU64,
    pub(crate) failed: AtomicU64,
}

#[derive(Clone)]
struct KeyState {
    keys: Arc<KeySet>,
    /// The time of the last successful fetch.
    fetched: Instant,
    /// The end of the last fetch, successful or not.
    attempted: Instant,
    /// The error of the last fetch.
    error: Option<Arc<str>>,
}

/// The reason why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingKey {
    /// The provider does not publish the key.
    Unknown,
    /// The provider does not answer, or its last answer is too old.
    Unavailable,
}

impl KeyStore {
    pub(crate) fn new(source: Source, keys: KeySet, settings: &Settings) -> Self {
        let now = Instant::now();
        let state = KeyState {
            keys: Arc::new(keys),
            fetched: now,
            attempted: now,
            error: None,
        };
        Self {
            source,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            interval: *settings.refresh_interval,
            cooldown: *settings.refresh_cooldown,
            max_age: *settings.max_key_age,
            waiting: Semaphore::new(MAX_WAITING),
            // Discovery takes a second request.
            patience: *settings.fetch_timeout * 2 + Duration::from_secs(1),
            fetched: AtomicU64::new(1),
            failed: AtomicU64::new(0),
        }
    }

    /// The key of a token. An unknown one is fetched, unless the last fetch ended less than the cooldown ago.
    pub(crate) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        shutdown: &Shutdown,
    ) -> Result<Arc<Key>, MissingKey> {
        if let Some(key) = self.known(&self.state.borrow(), id, algorithm)? {
            return Ok(key);
        }
        let mut changes = self.state.subscribe();
        let state = changes.borrow_and_update().clone();
        if let Some(key) = self.known(&state, id, algorithm)? {
            return Ok(key);
        }
        if state.attempted.elapsed() < self.cooldown {
            return Err(state.missing());
        }
        // Beyond this number, the answer is at once: requests that wait take the places of those with a known key.
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(MissingKey::Unavailable);
        };
        // During a fetch, this wakes the task once more afterwards, when the cooldown has begun again.
        self.wanted.notify_one();
        tokio::select! {
            // It does not fail, because the sender is a field of `self`.
            _ = changes.changed() => {}
            () = sleep(self.patience) => return Err(MissingKey::Unavailable),
            // The task has ended.
            () = shutdown.stopping() => return Err(MissingKey::Unavailable),
        }
        let state = changes.borrow().clone();
        self.known(&state, id, algorithm)?.ok_or(state.missing())
    }

    fn known(
        &self,
        state: &KeyState,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<Key>>, MissingKey> {
        if state.fetched.elapsed() > self.max_age {
            return Err(MissingKey::Unavailable);
        }
        Ok(state.keys.find(id, algorithm).cloned())
    }

    /// Refreshes the keys until the shutdown: at each interval, and when a request needs an unknown key. After a failure,
    /// the cooldown is the interval.
    pub(crate) async fn keep_fresh(&self, shutdown: Shutdown) {
        loop {
            let (attempted, failed) = {
                let state = self.state.borrow();
                (state.attempted, state.error.is_some())
            };
            let pause = if failed { self.cooldown } else { self.interval };
            tokio::select! {
                biased;
                () = shutdown.stopping() => return,
                () = sleep_until(attempted + pause) => {}
                () = self.wanted.notified() => {}
            }
            if attempted.elapsed() >= self.cooldown {
                tokio::select! {
                    () = shutdown.stopping() => return,
                    () = self.refresh() => {}
                }
            }
        }
    }

    async fn refresh(&self) {
        let begun = Instant::now();
        let loaded = self.source.load().await;
        let count = match loaded {
            Ok(_) => &self.fetched,
            Err(_) => &self.failed,
        };
        self.state.send_modify(|state| {
            state.attempted = Instant::now();
            match loaded {
                Ok(keys) => {
                    state.keys = Arc::new(keys);
                    state.fetched = begun;
                    state.error = None;
                }
                // The known keys stay in use.
                Err(error) => state.error = Some(format!("{error:#}").into()),
            }
        });
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The result of the last refresh, for readiness.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &self.state.borrow().error {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }

    /// The number of usable keys, and the time since they were fetched.
    pub(crate) fn size_and_age(&self) -> (usize, Duration) {
        let state = self.state.borrow();
        (state.keys.len(), state.fetched.elapsed())
    }
}

impl KeyState {
    fn missing(&self) -> MissingKey {
        match self.error {
            // The provider may have a new key, so the token may be valid.
            Some(_) => MissingKey::Unavailable,
            None => MissingKey::Unknown,
        }
    }
}
