//! A [`Chassis`] without a process, for unit tests.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::chassis::Chassis;
use super::exporter::Exporters;
use super::own_main::no_logs;
use super::retry::RetryLimit;
use super::start::share;
use super::teardown::Teardown;
use super::{Stopped, collectors};
use crate::chassis_settings::ChassisSettings;
use crate::error::Chain;
use crate::platform::PlatformKind;
use crate::shared::Build;

/// A [`Chassis`] for unit tests of a service's own start, without a process and without ports.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use axum_chassis::{Chassis, TestChassis};
/// use tower::ServiceExt;
///
/// # #[derive(Clone, Debug, Default)] struct Settings { greeting: String }
/// // In the service:
/// async fn start(chassis: Chassis<Settings>) -> anyhow::Result<Router> {
///     let greeting = chassis.settings().greeting.clone();
///     let greeted = chassis.metrics().counter("greeted_total", "Greetings.")?;
///     let greet = async move || {
///         greeted.inc();
///         greeting
///     };
///     Ok(Router::new().route("/", get(greet)))
/// }
///
/// // In a `#[tokio::test]`:
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
/// let test = TestChassis::new(Settings { greeting: "hello".to_owned() });
/// let router = start(test.chassis()).await?;
/// let response = router.oneshot(http::Request::new(Body::empty())).await?;
/// assert_eq!(response.status(), 200);
/// let (_, metrics) = test.chassis().metrics().encode(None);
/// assert!(metrics.contains("greeted_total 1"));
/// assert!(test.stop().await.is_graceful());
/// # Ok(()) }
/// ```
///
/// The router has no layers of the chassis, so there are no limits, and errors are not mapped with
/// [`Chassis::on_error`]. To run a whole service inside a test, with both ports, use
/// [`Service::start`](crate::Service::start).
#[must_use = "dropping it stops the background tasks"]
pub struct TestChassis<S> {
    chassis: Chassis<S>,
    settings: watch::Sender<Arc<S>>,
    teardown: Teardown,
}

impl<S> fmt::Debug for TestChassis<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestChassis")
            .field("chassis", &self.chassis)
            .finish_non_exhaustive()
    }
}

impl<S> TestChassis<S> {
    /// A chassis of a service named `test`. `settings` are the service's own; those of the chassis have their defaults.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and if the operating system refuses the thread of the log.
    pub fn new(settings: S) -> Self {
        Self::with_chassis_settings(settings, ChassisSettings::default())
    }

    /// Like [`TestChassis::new`], with these settings of the chassis. If `service.platform` is `auto`, it becomes
    /// `terminal`.
    ///
    /// # Panics
    /// Like [`TestChassis::new`], and if the settings are invalid.
    pub fn with_chassis_settings(settings: S, mut chassis: ChassisSettings) -> Self {
        // Detecting the platform would make tests depend on the machine.
        if chassis.service.platform == PlatformKind::Auto {
            chassis.service.platform = PlatformKind::Terminal;
        }
        let build = Build::new("test", "0.0.0");
        let parts = chassis.checked().and_then(|chassis| {
            let (shared, trigger) = share(build, &chassis, no_logs()?)?;
            // Registered as in a service, so that a test finds a metric whose name is already taken.
            collectors::register(&shared)?;
            shared.metrics.runtime(&tokio::runtime::Handle::current())?;
            Ok((chassis, shared, trigger))
        });
        let (chassis, shared, trigger) = parts.unwrap_or_else(|error| panic!("{}", Chain(&error)));
        let initial = Arc::new(settings);
        let settings = watch::Sender::new(initial.clone());
        let teardown = Teardown::new(
            shared.clone(),
            trigger,
            chassis.shutdown.clone(),
            Exporters::default(),
        );
        let chassis = Chassis {
            shared,
            settings: settings.subscribe(),
            initial,
            retry_limit: RetryLimit::of_start(*chassis.service.start_timeout),
            chassis_settings: Arc::new(chassis),
        };
        Self {
            chassis,
            settings,
            teardown,
        }
    }

    /// The chassis, to pass to the service's start.
    pub fn chassis(&self) -> Chassis<S>
    where
        S: Clone,
    {
        self.chassis.clone()
    }

    /// Changes the service's own settings, as a hot reload does.
    pub fn reload(&self, settings: S) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Waits until the service calls [`Chassis::stop`], and returns the reason.
    pub async fn stop_requested(&self) -> String {
        self.chassis.shared.stop.reason().await
    }

    /// Runs the graceful shutdown in the same order as a service: the signal of [`Chassis::shutdown`] is sent,
    /// background tasks are awaited, and the hooks run. The deadline is `shutdown.deadline`.
    pub async fn stop(self) -> Stopped {
        self.teardown.run().await
    }
}
