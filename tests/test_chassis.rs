//! A chassis for unit tests of a service's own start.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum_chassis::TestChassis;
use axum_chassis::{Chassis, ChassisSettings};

/// A service's own start, which adds to a number at each step.
async fn start(chassis: Chassis<u64>, seen: Arc<AtomicUsize>) -> anyhow::Result<()> {
    chassis.readiness().check("store", async || anyhow::Ok(()));
    let hook = seen.clone();
    chassis.on_stop("store", async move || {
        hook.fetch_add(100, Ordering::Relaxed);
        Ok(())
    });
    let worker = seen.clone();
    chassis.spawn("worker", move |shutdown| {
        let worker = worker.clone();
        async move {
            shutdown.stopping().await;
            worker.fetch_add(10, Ordering::Relaxed);
            Ok(())
        }
    });
    seen.fetch_add(*chassis.settings() as usize, Ordering::Relaxed);
    Ok(())
}

#[tokio::test]
async fn a_start_runs_in_a_unit_test_and_stops_with_its_tasks_and_hooks() {
    let test = TestChassis::new(3);
    let seen = Arc::new(AtomicUsize::new(0));
    start(test.chassis(), seen.clone()).await.expect("a start");
    assert_eq!(seen.load(Ordering::Relaxed), 3);
    assert!(!test.chassis().shutdown().is_stopping());
    assert!(test.stop().await.is_graceful());
    assert_eq!(seen.load(Ordering::Relaxed), 113);
}

#[tokio::test]
async fn a_metric_with_a_name_of_the_chassiss_fails_as_in_a_service() {
    let test = TestChassis::new(());
    for taken in ["readiness_ready", "process_open_fds", "log_lines_total"] {
        let own = test.chassis().metrics().gauge(taken, "Taken.");
        assert!(own.is_err(), "{taken}");
    }
}

#[tokio::test]
async fn dropping_it_ends_the_background_tasks() {
    let test = TestChassis::new(());
    let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    test.chassis().spawn("endless", move |_| {
        let alive = alive.clone();
        async move {
            alive.closed().await;
            Ok(())
        }
    });
    drop(test);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended.recv()).await;
    assert!(ended.expect("an end of the task").is_none());
}

#[tokio::test]
async fn a_test_changes_settings_as_a_reload_does() {
    let test = TestChassis::new(1);
    let mut watched = test.chassis().watch();
    test.reload(2);
    watched.changed().await.expect("a change");
    assert_eq!(**watched.borrow(), 2);
    assert_eq!(*test.chassis().settings(), 1);
}

#[tokio::test]
async fn a_test_sees_the_reason_for_a_stop_that_the_service_asks_for() {
    let test = TestChassis::new(());
    let chassis = test.chassis();
    tokio::spawn(async move { chassis.stop("the lease is lost") });
    assert_eq!(test.stop_requested().await, "the lease is lost");
}

#[tokio::test]
#[should_panic(expected = "invalid settings: health.failures: must be at least 1")]
async fn invalid_settings_of_the_chassis_fail_the_test() {
    let mut settings = ChassisSettings::default();
    settings.health.failures = 0;
    let _ = TestChassis::with_chassis_settings((), settings);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_is_awaited_as_long_as_the_settings_allow() {
    let mut settings = ChassisSettings::default();
    settings.service.start_timeout = Duration::from_secs(2).into();
    let test = TestChassis::with_chassis_settings((), settings);
    let refused = async || anyhow::Result::<()>::Err(anyhow::anyhow!("refused"));
    let error = test.chassis().wait_for("database", refused).await;
    let error = format!("{:#}", error.expect_err("it is refused"));
    assert!(
        error.starts_with("database: not available after"),
        "{error}"
    );
}
