//! Concurrent access to the activity of a connection, under loom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use loom::sync::atomic;
use loom::thread;

use self::activity::{Activity, TimeLimits, UnderWay};

#[path = "../../../axum-chassis-server/src/server/activity.rs"]
#[allow(dead_code)]
mod activity;

const IDLE: Duration = Duration::from_secs(75);
const LIMITS: TimeLimits = TimeLimits {
    header: Duration::from_secs(5),
    idle: IDLE,
    send: Duration::from_secs(30),
    grace: Duration::from_secs(1),
};

/// A connection is never taken for one that has been idle for as long as its requests took.
fn is_idle_only_since(activity: &Activity, ends: Instant) {
    if let Some((_, limit)) = activity.limit(&LIMITS) {
        assert!(limit >= ends + IDLE, "it counts as idle since long ago");
    }
}

fn end(request: UnderWay) -> thread::JoinHandle<()> {
    thread::spawn(move || drop(request))
}

#[test]
fn a_connection_is_idle_since_its_request_has_ended() {
    loom::model(|| {
        let activity = Arc::new(Activity::new());
        let request = activity.begin(Version::HTTP_2);
        let ends = Instant::now();
        let ended = end(request);
        is_idle_only_since(&activity, ends);
        ended.join().unwrap();
        assert!(activity.limit(&LIMITS).is_some(), "no request is left");
        is_idle_only_since(&activity, ends);
    });
}

#[test]
fn a_connection_is_idle_since_the_last_of_its_requests_has_ended() {
    loom::model(|| {
        let activity = Arc::new(Activity::new());
        let requests = [(); 2].map(|()| activity.begin(Version::HTTP_2));
        let ends = Instant::now();
        let ended = requests.map(end);
        is_idle_only_since(&activity, ends);
        let next = activity.begin(Version::HTTP_2);
        assert_eq!(activity.limit(&LIMITS), None, "one has begun");
        for ended in ended {
            ended.join().unwrap();
        }
        drop(next);
        assert!(activity.limit(&LIMITS).is_some(), "no request is left");
    });
}
