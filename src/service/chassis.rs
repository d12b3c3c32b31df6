//! [`Chassis`], the API that a service's own code receives at its start.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError};

use axum::Router;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::follow;
use super::retry::{self, RetryLimit};
use crate::admin;
use crate::chassis_settings::ChassisSettings;
use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::request::RequestObserver;
use crate::shared::Shared;
use crate::shutdown::Shutdown;

/// The API for the service's start and its commands. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Chassis<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) chassis_settings: Arc<ChassisSettings>,
    pub(super) settings: watch::Receiver<Arc<S>>,
    pub(super) initial: Arc<S>,
    pub(super) retry_limit: RetryLimit,
}

impl<S> fmt::Debug for Chassis<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chassis")
            .field("name", &self.name())
            .field("shutdown", &self.shutdown())
            .finish_non_exhaustive()
    }
}

impl Chassis<()> {
    /// A chassis without settings of a service. Nothing sends a change of them.
    pub(super) fn without_settings(
        shared: Arc<Shared>,
        chassis_settings: Arc<ChassisSettings>,
        retry_limit: RetryLimit,
    ) -> Self {
        let initial = Arc::new(());
        Self {
            shared,
            chassis_settings,
            settings: watch::Sender::new(initial.clone()).subscribe(),
            initial,
            retry_limit,
        }
    }
}

impl<S> Chassis<S> {
    /// The service's name, as passed to [`Service::new`](crate::Service::new).
    pub fn name(&self) -> &'static str {
        self.shared.build.name
    }

    /// The service's version, as passed to [`Service::new`](crate::Service::new).
    pub fn version(&self) -> &'static str {
        self.shared.build.version
    }

    /// The chassis's sections of the settings, as they were at the start. A hot reload (of `limits.*` and
    /// `logs.filter`) does not change them.
    ///
    /// ```
    /// # fn start(chassis: &axum_chassis::Chassis<()>) {
    /// // A call to another service times out before the request that makes the call.
    /// let timeout = *chassis.chassis_settings().limits.request_timeout / 2;
    /// let user_agent = format!("{}/{}", chassis.name(), chassis.version());
    /// # }
    /// ```
    pub fn chassis_settings(&self) -> &ChassisSettings {
        &self.chassis_settings
    }

    /// The service's own settings, as they were at the start.
    pub fn settings(&self) -> &S {
        &self.initial
    }

    /// The service's own settings as a channel, which receives the new settings after each hot reload.
    pub fn watch(&self) -> watch::Receiver<Arc<S>> {
        self.settings.clone()
    }

    /// Calls `apply` each time that a part of the service's own settings changes, such as a password that is
    /// rotated in a mounted secret:
    ///
    /// ```no_run
    /// # use axum_chassis::{Chassis, settings::Secret};
    /// # #[derive(Clone)] struct Mailer;
    /// # impl Mailer { async fn log_in(&self, _: Secret) -> anyhow::Result<()> { Ok(()) } }
    /// # struct Settings { mail_password: Secret }
    /// # fn start(chassis: &Chassis<Settings>, mailer: Mailer) {
    /// chassis.follow(
    ///     "mail_password",
    ///     |settings| settings.mail_password.clone(),
    ///     move |password| {
    ///         let mailer = mailer.clone();
    ///         async move { mailer.log_in(password).await }
    ///     },
    /// );
    /// # }
    /// ```
    ///
    /// `key` is the setting's key, for the log. `read` returns the part. `apply` is called whenever this part differs
    /// from the value in use, which at first is the value in [`settings`](Self::settings). If `apply` fails, it should
    /// leave the old value in use; it is called again each second with the newest value until it succeeds. Each new
    /// error is logged with the key, so the error must not contain a secret.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn follow<T, F, Fut>(
        &self,
        key: impl Into<String>,
        read: impl Fn(&S) -> T + Send + Sync + 'static,
        apply: F,
    ) where
        S: Send + Sync + 'static,
        T: Clone + PartialEq + Send + Sync + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let applied = read(&self.initial);
        tokio::spawn(follow::follow(
            key.into(),
            self.watch(),
            applied,
            read,
            apply,
        ));
    }

    /// The readiness state, to add checks.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// The metrics registry, to add the service's own metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The shutdown signal, for streams, WebSockets and background work.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// Requests a graceful shutdown, as SIGTERM does, for a service that cannot continue or has nothing left to do. The
    /// `reason` is logged. Returns at once; [`Chassis::shutdown`] has the progress of the shutdown.
    ///
    /// ```
    /// # async fn lease_lost() {}
    /// # async fn start(chassis: axum_chassis::Chassis<()>) {
    /// let own = chassis.clone();
    /// chassis.spawn("lease", move |_| {
    ///     let chassis = own.clone();
    ///     async move {
    ///         lease_lost().await;
    ///         chassis.stop("another instance holds the lease");
    ///         Ok(())
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// Of several calls, only the first has an effect. After the call, the first signal has no effect either, and the
    /// second signal aborts the shutdown. The exit code is 0 if the shutdown was graceful. To report a failure, return
    /// an error from the start or from a command instead.
    pub fn stop(&self, reason: impl Into<String>) {
        self.shared.stop.send(reason.into());
    }

    /// Waits for a dependency that the service needs to start, such as its database: retries
    /// `attempt` with exponential backoff from 100 ms to 5 s until it succeeds.
    ///
    /// ```no_run
    /// # async fn connect(_: &str) -> std::io::Result<()> { Ok(()) }
    /// # async fn start(chassis: axum_chassis::Chassis<()>) -> anyhow::Result<()> {
    /// let queue = chassis
    ///     .wait_for("queue", async || Ok(connect("queue:4222").await?))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// While it waits during the start, liveness is 200 and readiness is 503. The first failure is logged as a warning,
    /// the following ones at level DEBUG.
    ///
    /// # Errors
    /// During the start, shortly before `service.start_timeout` is over: the error of the last attempt, with `name` and
    /// the elapsed time. After the start and in a command, the limit is `service.start_timeout` from the call. Also
    /// fails if the service stops.
    pub async fn wait_for<T>(
        &self,
        name: &str,
        attempt: impl AsyncFn() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let until = self.retry_limit.until(self.readiness().is_started());
        tokio::select! {
            got = retry::until(name, until, attempt) => got,
            () = self.shutdown().stopping() => anyhow::bail!("{name}: stopped waiting because the service is stopping"),
        }
    }

    /// Maps errors that handlers return with `?` to responses other than a 500:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use axum_chassis::{Chassis, Problem};
    /// # fn start(chassis: &Chassis<()>) {
    /// chassis.on_error(|error| {
    ///     let error = error.downcast_ref::<std::io::Error>()?;
    ///     (error.kind() == std::io::ErrorKind::ConnectionRefused).then(|| {
    ///         Problem::unavailable("the stock service is not available").retry_after(Duration::from_secs(1))
    ///     })
    /// });
    /// # }
    /// ```
    ///
    /// `classify` is called with the error and each of its causes, outermost first, until it returns a problem. The
    /// error itself is logged, and never sent to the client. A [`Problem`] that a handler returns is not changed.
    pub fn on_error(
        &self,
        classify: impl Fn(&(dyn std::error::Error + 'static)) -> Option<Problem> + Send + Sync + 'static,
    ) {
        self.shared.error_map.add(classify);
    }

    /// Sets the text with which errors that handlers return with `?` are logged, for example if a database driver adds
    /// a position in its own source code to each error. The text replaces that of the error and of its causes. Of
    /// several functions, the first that returns a text decides. Clients never receive the text.
    ///
    /// ```
    /// # #[derive(Debug)] struct DriverError { message: String }
    /// # impl std::fmt::Display for DriverError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.message.fmt(f) }
    /// # }
    /// # impl std::error::Error for DriverError {}
    /// # fn start(chassis: &axum_chassis::Chassis<()>) {
    /// chassis.error_text(|error| Some(error.downcast_ref::<DriverError>()?.message.clone()));
    /// # }
    /// ```
    pub fn error_text(
        &self,
        describe: impl Fn(&(dyn std::error::Error + 'static)) -> Option<String> + Send + Sync + 'static,
    ) {
        self.shared.error_map.add_text(describe);
    }

    /// Adds an observer of requests, for metrics of your own and for fields of the access line. It observes the
    /// requests that begin from now on. Several observers run in the order in which they were added.
    ///
    /// ```
    /// use axum_chassis::logs::AccessFields;
    /// use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
    ///
    /// /// Logs which version of the API a client uses.
    /// struct ApiVersion;
    ///
    /// impl RequestObserver for ApiVersion {
    ///     type State = bool;
    ///
    ///     fn begin(&self, request: &mut RequestHead<'_>) -> bool {
    ///         request.headers().contains_key("x-api-2")
    ///     }
    ///
    ///     fn end(&self, is_second: bool, _: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
    ///         fields.integer("api_version", if is_second { 2 } else { 1 });
    ///     }
    /// }
    ///
    /// # fn start(chassis: axum_chassis::Chassis<()>) {
    /// chassis.observe(ApiVersion);
    /// # }
    /// ```
    pub fn observe(&self, observer: impl RequestObserver) {
        self.shared.observers.add(observer);
    }

    /// Starts background work, such as a worker of a queue.
    ///
    /// ```
    /// # use axum_chassis::{Chassis, shutdown::Shutdown};
    /// # #[derive(Clone)] struct Store;
    /// # impl Store { async fn send_one(&self) -> anyhow::Result<()> { Ok(()) } }
    /// # fn start(chassis: &Chassis<()>, store: Store) {
    /// chassis.spawn("outbox", move |shutdown| outbox(store.clone(), shutdown));
    /// # }
    ///
    /// async fn outbox(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    ///     while !shutdown.is_stopping() {
    ///         store.send_one().await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A task that returns `Ok` is done. A task that fails or panics is restarted with exponential backoff, from one
    /// second to one minute. Each end is logged and counted (`background_task_ends_total`), and the admin page shows
    /// the task's state.
    ///
    /// The shutdown awaits all tasks before the hooks run. A task that still runs at the deadline is aborted, and the
    /// shutdown is then not graceful.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F, Fut>(&self, name: impl Into<String>, work: F)
    where
        F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = self.shutdown().clone();
        self.shared.tasks.spawn(name.into(), shutdown, work);
    }

    /// Adds routes of your own to the admin listener, such as a route that empties a cache.
    ///
    /// ```
    /// # use axum::{Router, routing::post};
    /// # #[derive(Clone)] struct Cache;
    /// # impl Cache { async fn clear(&self) {} }
    /// # fn start(chassis: &axum_chassis::Chassis<()>, cache: Cache) -> anyhow::Result<()> {
    /// let clear = async move || cache.clear().await;
    /// chassis.admin_routes(Router::new().route("/cache/clear", post(clear)))?;
    /// # Ok(()) }
    /// ```
    ///
    /// The access rules are those of the chassis's own routes: GET, HEAD, OPTIONS and TRACE need the same access as
    /// `/status`, and other methods need the same access as `PUT /log`. A request body has at most 1 KiB, unless the
    /// route has its own `DefaultBodyLimit`. A response takes at most 10 s; after that, the status is 504. A panic is a
    /// 500. Handlers run on the service's runtime, so that they do not delay health checks. Requests are neither logged
    /// nor counted.
    ///
    /// If a pattern such as `/{page}` also matches a path of the chassis, the chassis's route takes precedence. A
    /// command has no admin listener, so it does not serve these routes.
    ///
    /// # Errors
    /// If a route has a path of the chassis, such as `/config`, or if `admin_routes` was called before.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn admin_routes(&self, routes: Router) -> anyhow::Result<()> {
        admin::add_routes(&self.shared, routes, Handle::current())
    }

    /// Runs `hook` at shutdown, after the last request and the background tasks. Hooks run in reverse order of
    /// registration.
    ///
    /// Each hook may take `shutdown.hook_timeout`. If a hook fails, this is logged, and the remaining hooks still run.
    pub fn on_stop<F, Fut>(&self, name: impl Into<String>, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let hooks = self.shared.hooks.lock();
        let mut hooks = hooks.unwrap_or_else(PoisonError::into_inner);
        hooks.push(name.into(), hook);
    }
}
