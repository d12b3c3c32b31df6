//! The order of start and stop.
//!
//! Whatever decides about the process's life (signals, deadlines) runs on the admin thread: with
//! every worker of the service's runtime blocked, that runtime keeps no time and hears no signal.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use axum::Router;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::last::{self, LAST_MOMENT, Last};
use super::reload::{self, Reload};
use super::wait::Patience;
use super::{Chassis, Running, Stopped, collect, threads};
use crate::admin::{self, Admin, Build};
use crate::background::Tasks;
use crate::boxed::boxed;
use crate::error::{Chain, Error};
use crate::health::{Heartbeat, Readiness};
use crate::limits::Limits;
use crate::logs::{self, Logs};
use crate::metrics::Metrics;
use crate::metrics::http::Http;
use crate::otlp::Export;
use crate::problem::Meanings;
use crate::request::RequestLayer;
use crate::sections::{self, LoadedSettings, Sections};
use crate::server::Bound;
use crate::settings::{self, Section, Sources};
use crate::shutdown::{self, Phase, Signals, Trigger};

/// A whole process, from its settings to its exit code.
pub(super) fn run<S: Section>(
    build: Build,
    sources: Sources,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<ExitCode, Error> {
    let load_again = sources.clone();
    logged(&build.clone(), &sources, None, |loaded, logs, export| {
        let parts = Parts::assemble(build, load_again, loaded, logs.clone(), export)?;
        process(parts, start)
    })
}

/// Reads the settings, and has `work` done under a log that is flushed at the end. Errors up to the
/// log are the caller's to tell.
pub(super) fn logged<S: Section>(
    build: &Build,
    sources: &Sources,
    command: Option<&str>,
    work: impl FnOnce(LoadedSettings<S>, &Logs, Export) -> Result<Stopped, Error>,
) -> Result<ExitCode, Error> {
    let (loaded, traces) = sections::load::<S>(sources)?;
    let export = Export::start(traces, build.name, build.version).map_err(Error::Runtime)?;
    let logs = logs::install_beside(&loaded.chassis.logs, &export)
        .map_err(|error| Error::Logs(error.into()))?;
    tracing::info!(
        name = build.name,
        version = build.version,
        revision = build.revision,
        command,
        "starting"
    );
    export.announce();
    reload::warn(loaded.effective.warnings());
    let code = match work(loaded, &logs, export) {
        Ok(stopped) => stopped.exit_code(),
        Err(error) => {
            let message = match command {
                None => "the service cannot run",
                Some(_) => "the command has failed",
            };
            tracing::error!(error = %Chain(&error), "{message}");
            error.exit_code()
        }
    };
    logs.flush(StdDuration::from_secs(2));
    Ok(code)
}

fn process<S: Section>(
    parts: Parts<S>,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<Stopped, Error> {
    let admin = parts.admin()?;
    let signals = admin.within(Signals::listen).map_err(Error::Runtime)?;
    let (runtime, reason) = threads::runtime(parts.loaded.chassis.service.threads)?;
    parts.admin.set_threads(reason);
    parts
        .metrics
        .runtime(runtime.handle())
        .map_err(Error::Metrics)?;

    let life = async {
        match parts.begin(&admin, signals, start).await? {
            Begun::Serving(life) => {
                let attended = admin.spawn(life.attend()).await;
                // A stop that breaks down is no orderly one.
                attended.map_err(|panic| Error::Runtime(std::io::Error::other(panic)))
            }
            Begun::Stopped(stopped) => Ok(stopped),
        }
    };
    let stopped = last::block_on(runtime, Box::pin(life));
    // The admin listener answers to the last.
    drop(admin);
    stopped
}

/// The same inside a test.
pub(super) async fn start<S: Section>(
    build: Build,
    sources: Sources,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<Running, Error> {
    let loaded =
        settings::load::<Sections, S>(&sources).map_err(|error| Error::Settings(error.into()))?;
    let logs = logs::start(&loaded.chassis.logs, logs::Output::to(std::io::sink()))
        .map_err(|error| Error::Logs(error.into()))?;
    let parts = Parts::assemble(build, sources, loaded, logs, Export::off())?;
    let admin = parts.admin()?;
    parts
        .metrics
        .runtime(&Handle::current())
        .map_err(Error::Metrics)?;
    let (stop, signals) = Signals::channel();
    let Begun::Serving(life) = parts.begin(&admin, signals, start).await? else {
        unreachable!("nobody can have asked for a stop yet")
    };
    let (address, admin_address) = (life.address, admin.address);
    let (report, stopped) = oneshot::channel();
    let attended = admin.spawn(life.attend());
    tokio::spawn(async move {
        let _ = report.send(attended.await.unwrap_or_default());
        // Its thread is joined: not a matter for the test's runtime.
        tokio::task::spawn_blocking(|| drop(admin));
    });
    Ok(Running {
        address,
        admin: admin_address,
        stop,
        stopped,
    })
}

/// All there is before the service's own start.
struct Parts<S> {
    sources: Sources,
    loaded: LoadedSettings<S>,
    logs: Logs,
    export: Export,
    metrics: Metrics,
    http: Http,
    readiness: Readiness,
    heartbeat: Heartbeat,
    limits: Limits,
    trigger: Trigger,
    tasks: Tasks,
    admin: Arc<Admin>,
}

/// What came of the start.
enum Begun {
    Serving(Box<Life>),
    /// A signal came first.
    Stopped(Stopped),
}

impl<S: Section> Parts<S> {
    fn assemble(
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
        let tasks = Tasks::default();
        let register = || {
            metrics.build_info(&[
                ("name", build.name),
                ("version", build.version),
                ("revision", build.revision),
                ("rustc", build.rustc),
            ])?;
            metrics.machine()?;
            collect::register(&metrics, &readiness, &tasks, &logs, &export)?;
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
        );
        Ok(Self {
            limits: Limits::new(&sections.limits),
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

    fn admin(&self) -> Result<admin::Running, Error> {
        let running = admin::Running::start(&self.loaded.chassis.admin, self.admin.clone())?;
        tracing::info!(listener = "admin", address = %running.address, "listening");
        Ok(running)
    }

    /// Binds, runs the service's own start, and serves.
    async fn begin(
        self,
        admin: &admin::Running,
        mut signals: Signals,
        start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
    ) -> Result<Begun, Error> {
        let began = Instant::now();
        let sections = self.loaded.chassis.clone();
        tokio::spawn(boxed(self.heartbeat.clone().beat()));
        let bound = Bound::bind("main", &sections.server.host, sections.server.port)?;
        let address = bound.address();

        let initial = Arc::new(self.loaded.service.clone());
        let settings = watch::Sender::new(initial.clone());
        let limit = *sections.service.start_timeout;
        let meanings = Meanings::default();
        let last = Last {
            tasks: self.tasks,
            hooks: Arc::default(),
            export: self.export.clone(),
            service: Handle::current(),
        };
        let chassis = Chassis {
            settings: settings.subscribe(),
            initial,
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.trigger.watch(),
            meanings: meanings.clone(),
            tasks: last.tasks.clone(),
            hooks: last.hooks.clone(),
            patience: Patience::of_start(limit),
        };
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
            signal = signals.next() => {
                tracing::info!(signal, "stopping before the start was done");
                return Ok(Begun::Stopped(last.run(&sections.shutdown, &self.trigger).await));
            }
        };
        let router = match router {
            Ok(router) => router,
            Err(error) => {
                last.run(&sections.shutdown, &self.trigger).await;
                return Err(error);
            }
        };

        let layer = RequestLayer::with(
            self.limits.clone(),
            self.logs.clone(),
            self.http.clone(),
            Some(self.trigger.watch()),
            self.export,
            meanings,
        )
        .behind(sections.server.proxies());
        // The probes first: of two default fallbacks, merging keeps the second.
        let router = admin::probes(self.readiness.clone()).merge(router.layer(layer.clone()));
        let served = bound.serve(
            [router, admin::misaddressed(&self.readiness).layer(layer)],
            sections.server,
            self.trigger.watch(),
            self.http.clone(),
        );
        let server = tokio::spawn(boxed(served));
        self.readiness.set_started();
        tracing::info!(listener = "main", %address, "listening");
        tracing::info!(duration_ms = logs::milliseconds(began.elapsed()), "started");

        Ok(Begun::Serving(Box::new(Life {
            address,
            signals,
            readiness: self.readiness,
            trigger: self.trigger,
            http: self.http,
            settings: sections.shutdown,
            last,
            server,
            _reload: reload,
        })))
    }
}

/// A service that serves.
struct Life {
    address: std::net::SocketAddr,
    signals: Signals,
    readiness: Readiness,
    trigger: Trigger,
    http: Http,
    settings: shutdown::Settings,
    last: Last,
    server: JoinHandle<()>,
    _reload: Reload,
}

impl Life {
    /// Waits for the signal to stop, and stops in order. Runs on the admin thread.
    async fn attend(mut self: Box<Self>) -> Stopped {
        let signal = self.signals.next().await;
        let began = Instant::now();
        let delay = self.settings.delay();
        tracing::info!(signal, delay_ms = delay.as_millis() as u64, "stopping");

        self.readiness.set_stopping();
        self.trigger.advance(Phase::Draining);
        let in_time = self.last.time_before(&self.settings);
        let drained = async {
            tokio::time::sleep(delay).await;
            self.trigger.advance(Phase::Closing);
            tracing::info!(
                connections = self.http.connections.get(),
                "accepting no more"
            );
            let _ = (&mut self.server).await;
            self.last.tasks.ended().await;
        };
        let hurried = tokio::select! {
            drained = tokio::time::timeout(in_time, drained) => {
                drained.err().map(|_| "the deadline")
            }
            signal = self.signals.next() => Some(signal),
        };
        let (cut, cut_tasks) = match hurried {
            None => (0, 0),
            Some(reason) => (self.cut(reason).await, self.last.cut_tasks().await),
        };
        let deadline = began + *self.settings.deadline;
        let failed_hooks = self.last.finish(&self.settings, deadline.into()).await;
        tracing::info!(
            cut,
            cut_tasks,
            failed_hooks,
            duration_ms = logs::milliseconds(began.elapsed()),
            "stopped"
        );
        Stopped {
            cut,
            cut_tasks,
            failed_hooks,
        }
    }

    async fn cut(&mut self, reason: &str) -> usize {
        let connections = self.http.connections.get();
        let requests = self.http.active_requests.get();
        self.trigger.advance(Phase::Cut);
        self.http
            .connections_cut
            .inc_by(u64::try_from(connections).unwrap_or_default());
        tracing::warn!(connections, requests, reason, "cutting what is left");
        // A task that has ended must not be awaited again.
        if !self.server.is_finished() {
            let _ = tokio::time::timeout(LAST_MOMENT, &mut self.server).await;
        }
        usize::try_from(connections).unwrap_or_default()
    }
}
