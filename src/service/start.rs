//! The order of a start: create the parts, open the admin port, bind the main port, run the service's own start, accept
//! connections.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum_chassis_server::{Bound, Limits, ListenSocket, Routers};
use tokio::sync::watch;

use super::exporter::Exporters;
use super::reload::Reload;
use super::retry::RetryLimit;
use super::stop::Serving;
use super::teardown::Teardown;
use super::{Chassis, Outer, Stopped, collectors};
use crate::admin::{self, Admin};
use crate::background::BackgroundTasks;
use crate::boxed::boxed;
use crate::chassis_settings::{ChassisSettings, LoadedSettings};
use crate::error::Error;
use crate::health::{Heartbeat, Readiness};
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::observer::Observers;
use crate::problem::ErrorMap;
use crate::request::RequestLayer;
use crate::server;
use crate::settings::{SettingsSchema, Sources};
use crate::shared::{Build, Shared};
use crate::shutdown::{self, Signals, StopCause, StopRequest, Trigger};

/// The parts that exist before the service's own start.
pub(super) struct ServiceParts<S> {
    sources: Sources,
    pub(super) loaded: LoadedSettings<S>,
    pub(super) shared: Arc<Shared>,
    trigger: Trigger,
    exporters: Exporters,
    pub(super) admin: Arc<Admin>,
}

/// Creates the parts of a service or a command, and the trigger of its shutdown.
pub(super) fn share(
    build: Build,
    sections: &ChassisSettings,
    logs: Logs,
) -> Result<(Arc<Shared>, Trigger), Error> {
    let metrics = Metrics::new();
    let (trigger, shutdown) = shutdown::channel();
    let shared = Shared {
        build,
        logs,
        http: metrics.http()?,
        metrics,
        readiness: Readiness::new(sections.health.clone()),
        heartbeat: Heartbeat::new(*sections.health.stall),
        limits: Limits::new(&sections.limits, sections.server.max_connections),
        error_map: ErrorMap::default(),
        observers: Observers::default(),
        tasks: BackgroundTasks::default(),
        hooks: Mutex::default(),
        shutdown,
        stop: StopRequest::default(),
        admin_routes: OnceLock::new(),
    };
    Ok((Arc::new(shared), trigger))
}

/// The result of a start.
pub(super) enum StartOutcome {
    Serving(Box<Serving>),
    /// A request to stop came before the start was complete.
    Stopped(StopCause, Stopped),
}

impl<S: SettingsSchema> ServiceParts<S> {
    pub(super) fn assemble(
        build: Build,
        sources: Sources,
        loaded: LoadedSettings<S>,
        logs: Logs,
        exporters: Exporters,
    ) -> Result<Self, Error> {
        let sections = &loaded.framework;
        let (shared, trigger) = share(build, sections, logs)?;
        collectors::register(&shared)?;
        let admin = Admin::new(
            shared.clone(),
            &sections.admin,
            *sections.shutdown.deadline,
            loaded.effective.clone(),
        )?;
        Ok(Self {
            admin: Arc::new(admin),
            sources,
            loaded,
            shared,
            trigger,
            exporters,
        })
    }

    pub(super) fn admin(&self) -> Result<admin::AdminThread, Error> {
        let running = admin::AdminThread::start(&self.loaded.framework.admin, self.admin.clone())?;
        tracing::info!(listener = "admin", address = %running.address, "listening");
        Ok(running)
    }

    /// Binds the main port (or uses the inherited socket), runs the service's own start, and serves.
    pub(super) async fn begin(
        self,
        admin: &admin::AdminThread,
        mut signals: Signals,
        inherited: Option<ListenSocket>,
        outer: Outer,
        start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
    ) -> Result<StartOutcome, Error> {
        let began = Instant::now();
        let shared = self.shared;
        let sections = Arc::new(self.loaded.framework);
        tokio::spawn(boxed(shared.heartbeat.clone().beat()));
        let bound = match inherited {
            Some(socket) => Bound::listening(socket),
            None => Bound::from_settings(&sections.server),
        };
        let bound = bound.map_err(Error::bind("main"))?;

        let initial = Arc::new(self.loaded.service);
        let settings = watch::Sender::new(initial.clone());
        let limit = *sections.service.start_timeout;
        let exporters = self.exporters.clone();
        let teardown = Teardown::new(
            shared.clone(),
            self.trigger,
            sections.shutdown.clone(),
            exporters.clone(),
        );
        let chassis = Chassis {
            shared: shared.clone(),
            chassis_settings: sections.clone(),
            settings: settings.subscribe(),
            initial,
            retry_limit: RetryLimit::of_start(limit),
        };
        tracing::info!(reason = limits_line(&shared.limits), "limits sized");
        admin.spawn(follow(shared.limits.clone()));
        // The watch begins before the service's own start, so that a change during a long start is not missed.
        let reload = Reload::watch(self.sources, self.loaded.effective, self.admin, settings)?;
        // The timer is created inside the task, so that it belongs to the admin thread's runtime.
        let too_late = admin.spawn(async move { tokio::time::sleep(limit).await });
        let start = async {
            exporters.attach(&chassis)?;
            start(chassis).await
        };
        let router = tokio::select! {
            biased;
            router = start => router.map_err(Error::Start),
            _ = too_late => Err(Error::StartTimeout(limit)),
            cause = signals.stop() => {
                tracing::info!(signal = cause.signal(), reason = cause.reason(), "stopping during the start");
                let stopped = teardown.run().await;
                return Ok(StartOutcome::Stopped(cause, stopped));
            }
        };
        let router = match router {
            Ok(router) => router,
            Err(error) => {
                teardown.run().await;
                return Err(error);
            }
        };

        let server = &sections.server;
        let routers = routers(&shared, server, router, &outer);
        let serving = Serving::begin(bound, routers, server, signals, teardown, reload).await?;
        tracing::info!(duration_ms = logs::milliseconds(began.elapsed()), "started");
        Ok(StartOutcome::Serving(serving))
    }
}

/// The routes with all layers.
///
/// This function is not generic, so that the request layer is compiled once, in this crate. With a second copy, in the
/// service's crate, the compiler would not inline the layer's functions, which takes 170 instructions more per request.
fn routers(shared: &Shared, settings: &server::Settings, router: Router, outer: &Outer) -> Routers {
    let layer = request_layer(shared, settings);
    // `merge` keeps the second of two default fallbacks. This must be that of the service's router, which has the
    // layer.
    let router = admin::probes(shared.readiness.clone()).merge(router.layer(layer.clone()));
    Routers::new(outer.around(router)).invalid_host(outer.around(invalid_host(shared, layer)))
}

/// The layer around the routes of the main listener.
pub(super) fn request_layer(shared: &Shared, settings: &server::Settings) -> RequestLayer {
    RequestLayer::of(shared, settings.proxies())
}

/// The router for requests without a valid `Host`, which never reach the service's routes.
pub(super) fn invalid_host(shared: &Shared, layer: RequestLayer) -> Router {
    admin::invalid_host(&shared.readiness).layer(layer)
}

/// Resizes the limits whenever the memory limit of the container changes.
pub(super) async fn follow(limits: Limits) {
    /// The interval of this check.
    const PAUSE: Duration = Duration::from_secs(10);
    loop {
        tokio::time::sleep(PAUSE).await;
        if limits.follow() {
            tracing::info!(reason = limits_line(&limits), "limits resized");
        }
    }
}

fn limits_line(limits: &Limits) -> String {
    limits.to_string().trim_end().replace('\n', ", ")
}
