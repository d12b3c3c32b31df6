//! The order of a start: create the parts, open the admin port, bind the main port, run the service's own start, accept
//! connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::chassis::Platform;
use super::reload::Reload;
use super::retry::RetryLimit;
use super::stop::Serving;
use super::teardown::Teardown;
use super::{Chassis, Outer, Stopped, collectors};
use crate::admin::{self, Admin, Build};
use crate::background::BackgroundTasks;
use crate::boxed::boxed;
use crate::chassis_settings::LoadedSettings;
use crate::error::Error;
use crate::health::{Heartbeat, Readiness};
use crate::limits::Limits;
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::metrics::http::Http;
use crate::otlp::Export;
use crate::problem::ErrorMap;
use crate::request::{Observers, RequestLayer};
use crate::server::Bound;
use crate::settings::{SettingsSchema, Sources};
use crate::shutdown::{Signals, StopCause, Trigger};

/// All there is before the service's own start.
pub(super) struct ServiceParts<S> {
    sources: Sources,
    pub(super) loaded: LoadedSettings<S>,
    logs: Logs,
    export: Export,
    pub(super) metrics: Metrics,
    http: Http,
    readiness: Readiness,
    heartbeat: Heartbeat,
    limits: Limits,
    trigger: Trigger,
    tasks: BackgroundTasks,
    pub(super) admin: Arc<Admin>,
}

/// The result of a start.
pub(super) enum StartOutcome {
    Serving(Box<Serving>),
    /// A request to stop came first.
    Stopped(StopCause, Stopped),
}

impl<S: SettingsSchema> ServiceParts<S> {
    pub(super) fn assemble(
        build: Build,
        sources: Sources,
        loaded: LoadedSettings<S>,
        logs: Logs,
        export: Export,
    ) -> Result<Self, Error> {
        let sections = &loaded.chassis;
        let readiness = Readiness::new(sections.health.clone());
        let heartbeat = Heartbeat::new(*sections.health.stall);
        let metrics = Metrics::new();
        let tasks = BackgroundTasks::default();
        let limits = Limits::new(&sections.limits, sections.server.max_connections);
        let register = || {
            metrics.build_info(&[
                ("name", build.name),
                ("version", build.version),
                ("revision", build.revision),
                ("rustc", build.rustc),
            ])?;
            metrics.machine()?;
            collectors::register(&metrics, &readiness, &tasks, &logs, &export)?;
            collectors::limits(&metrics, &limits)?;
            metrics.http()
        };
        let http = register().map_err(Error::Metrics)?;
        let trigger = Trigger::new();
        let admin = Admin::new(
            build,
            &sections.admin,
            (readiness.clone(), heartbeat.clone(), tasks.clone()),
            (trigger.watch(), *sections.shutdown.deadline),
            metrics.clone(),
            logs.clone(),
            loaded.effective.clone(),
        )
        .map_err(Error::Metrics)?;
        Ok(Self {
            limits,
            trigger,
            admin: Arc::new(admin),
            sources,
            loaded,
            logs,
            export,
            metrics,
            http,
            readiness,
            heartbeat,
            tasks,
        })
    }

    pub(super) fn admin(&self) -> Result<admin::AdminThread, Error> {
        let running = admin::AdminThread::start(&self.loaded.chassis.admin, self.admin.clone())?;
        tracing::info!(listener = "admin", address = %running.address, "listening");
        Ok(running)
    }

    /// Binds, runs the service's own start, and serves.
    pub(super) async fn begin(
        self,
        admin: &admin::AdminThread,
        mut signals: Signals,
        outer: Outer,
        start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
    ) -> Result<StartOutcome, Error> {
        let began = Instant::now();
        let sections = self.loaded.chassis.clone();
        tokio::spawn(boxed(self.heartbeat.clone().beat()));
        let bound = Bound::bind("main", &sections.server.host, sections.server.port)?;
        let address = bound.address();

        let initial = Arc::new(self.loaded.service.clone());
        let settings = watch::Sender::new(initial.clone());
        let limit = *sections.service.start_timeout;
        let (error_map, observers) = (ErrorMap::default(), Observers::default());
        let teardown = Teardown {
            tasks: self.tasks,
            hooks: Arc::default(),
            export: self.export.clone(),
            service: Handle::current(),
        };
        let chassis = Chassis {
            platform: Arc::new(Platform {
                build: self.admin.build.clone(),
                settings: sections.clone(),
                stop: signals.program(),
                admin_routes: self.admin.own_routes.clone(),
                observers: observers.clone(),
            }),
            settings: settings.subscribe(),
            initial,
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.trigger.watch(),
            error_map: error_map.clone(),
            tasks: teardown.tasks.clone(),
            hooks: teardown.hooks.clone(),
            retry_limit: RetryLimit::of_start(limit),
        };
        tracing::info!(reason = limits_line(&self.limits), "limits sized");
        admin.spawn(follow(self.limits.clone()));
        // From here on, so that a change during a long start is not missed.
        let reload = Reload::watch(
            self.sources,
            self.loaded.effective,
            self.limits.clone(),
            self.admin,
            settings,
            &self.metrics,
        )?;
        // Inside the task, so that it is the admin thread that keeps this time.
        let too_late = admin.spawn(async move { tokio::time::sleep(limit).await });
        let router = tokio::select! {
            biased;
            router = start(chassis) => router.map_err(Error::Start),
            _ = too_late => Err(Error::StartTimeout(limit)),
            cause = signals.stop() => {
                tracing::info!(signal = cause.signal(), reason = cause.reason(), "stopping during the start");
                let stopped = teardown.run(&sections.shutdown, &self.trigger).await;
                return Ok(StartOutcome::Stopped(cause, stopped));
            }
        };
        let router = match router {
            Ok(router) => router,
            Err(error) => {
                teardown.run(&sections.shutdown, &self.trigger).await;
                return Err(error);
            }
        };

        let layer = RequestLayer::with(
            self.limits.clone(),
            self.logs.clone(),
            self.http.clone(),
            Some(self.trigger.watch()),
            self.export,
            error_map,
            observers,
        )
        .trusted_proxies(sections.server.proxies());
        // The probes first: of two default fallbacks, merging keeps the second.
        let router = admin::probes(self.readiness.clone()).merge(router.layer(layer.clone()));
        // A request without a valid Host never meets a route.
        let invalid_host = admin::invalid_host(&self.readiness).layer(layer);
        let [router, invalid_host] = [router, invalid_host].map(|router| outer.around(router));
        // Listens only now: during the start connections are refused, so that clients try another replica.
        let listening = match bound.listen("main") {
            Ok(listening) => listening,
            Err(error) => {
                teardown.run(&sections.shutdown, &self.trigger).await;
                return Err(error);
            }
        };
        let served = listening.serve(
            [router, invalid_host],
            sections.server,
            self.limits,
            self.trigger.watch(),
            self.http.clone(),
        );
        let server = tokio::spawn(boxed(served));
        self.readiness.set_started();
        tracing::info!(listener = "main", %address, "listening");
        tracing::info!(duration_ms = logs::milliseconds(began.elapsed()), "started");

        Ok(StartOutcome::Serving(Box::new(Serving {
            address,
            signals,
            readiness: self.readiness,
            trigger: self.trigger,
            http: self.http,
            settings: sections.shutdown,
            teardown,
            server,
            _reload: reload,
        })))
    }
}

/// Has the limits follow the memory limit of the container.
async fn follow(limits: Limits) {
    /// How often that is looked at.
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
