//! The registry of open connections. To make room for a new connection, it closes one that is idle or waits for its
//! client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::activity::Activity;

/// All open connections by number. It is searched only while the listener is full.
#[derive(Default)]
pub(super) struct Registry(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    last: u64,
    open: HashMap<u64, (Arc<Activity>, Waker)>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection with the waker of its task. Dropping the entry removes it.
    pub(super) fn enter(self: &Arc<Self>, activity: Arc<Activity>, task: Waker) -> OpenConnection {
        let mut connections = self.lock();
        connections.last += 1;
        let number = connections.last;
        connections.open.insert(number, (activity, task));
        OpenConnection {
            registry: self.clone(),
            number,
        }
    }

    /// Closes the connection that has been idle longest. If none is idle, closes the connection that has waited longest
    /// for its client within a request, and at least for `grace`. Returns whether there was such a connection.
    pub(super) fn make_room(&self, grace: Duration) -> bool {
        let now = Instant::now();
        let connections = self.lock();
        let longest = |since: fn(&Activity, Instant, Duration) -> Option<Instant>| {
            let open = connections.open.values();
            let waiting = open.filter_map(|(activity, task)| {
                Some((since(activity, now, grace)?, activity, task))
            });
            waiting.min_by_key(|(since, ..)| *since)
        };
        // A connection that was notified is closing already, unless its client delays this.
        let idle = |activity: &Activity, now, grace| {
            let since = activity.idle_since(now, grace);
            since.filter(|_| !activity.has_to_make_room())
        };
        let Some((_, activity, task)) = longest(idle).or_else(|| longest(Activity::waits_since))
        else {
            return false;
        };
        activity.make_room();
        task.wake_by_ref();
        true
    }
}

/// The entry of an open connection.
pub(super) struct OpenConnection {
    registry: Arc<Registry>,
    number: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.number);
    }
}
