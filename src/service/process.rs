//! The life of a process, from its settings to its exit code, and that of a service inside a test.
//!
//! Signals and deadlines are handled on the admin thread. The service's runtime could not handle them while all its
//! worker threads are blocked.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum_chassis_server::ListenSocket;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::exporter::{Exporters, Telemetry};
use super::start::{ServiceParts, StartOutcome};
use super::teardown::{self, LAST_MOMENT};
use super::{Chassis, Outer, Running, Stopped, reload};
use crate::chassis_settings::{ChassisSettings, LoadedSettings};
use crate::error::{Chain, Error};
use crate::logs::{self, Logs};
use crate::settings::{self, SettingsSchema, Sources};
use crate::shared::Build;
use crate::shutdown::Signals;
use crate::threads;

/// Runs the whole process of a service, from its settings to its exit code.
pub(super) fn run<S: SettingsSchema>(
    build: Build,
    sources: Sources,
    telemetry: Telemetry,
    outer: Outer,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<ExitCode, Error> {
    // This comes first, because it changes the environment while no other thread exists that could read it.
    let inherited = ListenSocket::inherited().map_err(|source| Error::Bind {
        listener: "main",
        address: "LISTEN_FDS".to_owned(),
        source,
    })?;
    let load_again = sources.clone();
    logged(
        &build.clone(),
        &sources,
        telemetry,
        None,
        |loaded, logs, exporters| {
            let parts = ServiceParts::assemble(build, load_again, loaded, logs.clone(), exporters)?;
            process(parts, inherited, outer, start)
        },
    )
}

/// Loads the settings, installs the log, calls `work`, and flushes the log. An error of `work` is logged and decides
/// the exit code. Earlier errors are returned, because there is no log yet.
pub(super) fn logged<S: SettingsSchema>(
    build: &Build,
    sources: &Sources,
    telemetry: Telemetry,
    command: Option<&str>,
    work: impl FnOnce(LoadedSettings<S>, &Logs, Exporters) -> Result<Stopped, Error>,
) -> Result<ExitCode, Error> {
    let (loaded, exporters) = telemetry.load::<S>(build, sources)?;
    let layer = exporters.layer();
    let logs = logs::install_with_layers(&loaded.framework.logs, layer, telemetry.layers)
        .map_err(|error| Error::Logs(error.into()))?;
    exporters.read(&logs).map_err(Error::Start)?;
    tracing::info!(
        name = build.name,
        version = build.version,
        revision = build.revision,
        command,
        "starting"
    );
    reload::warn(loaded.effective.warnings());
    let code = match work(loaded, &logs, exporters.clone()) {
        Ok(stopped) => stopped.exit_code(),
        Err(error) => {
            let message = match command {
                None => "service failed",
                Some(_) => "command failed",
            };
            tracing::error!(error = %Chain(&error), "{message}");
            error.exit_code()
        }
    };
    exporters.end(LAST_MOMENT);
    logs.flush(Duration::from_secs(2));
    Ok(code)
}

fn process<S: SettingsSchema>(
    parts: ServiceParts<S>,
    inherited: Option<ListenSocket>,
    outer: Outer,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<Stopped, Error> {
    let admin = parts.admin()?;
    let stop = parts.shared.stop.clone();
    let signals = admin.within(|| Signals::listen(stop));
    let signals = signals.map_err(Error::Runtime)?;
    let (runtime, reason) = threads::runtime(parts.loaded.framework.service.threads)?;
    parts.admin.set_threads(reason);
    parts.shared.metrics.runtime(runtime.handle())?;

    let life = async {
        match parts
            .begin(&admin, signals, inherited, outer, start)
            .await?
        {
            StartOutcome::Serving(service) => {
                let stopped = admin.spawn(service.until_stopped()).await;
                // A shutdown that panics is not graceful.
                stopped.map_err(|panic| Error::Runtime(std::io::Error::other(panic)))
            }
            StartOutcome::Stopped(_, stopped) => Ok(stopped),
        }
    };
    let stopped = teardown::block_on(runtime, Box::pin(life));
    // The admin listener answers until everything else has ended.
    drop(admin);
    stopped
}

/// Starts a service inside a test.
pub(super) async fn start<S: SettingsSchema>(
    build: Build,
    sources: Sources,
    outer: Outer,
    start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
) -> Result<Running, Error> {
    let mut loaded = settings::load::<ChassisSettings, S>(&sources)
        .map_err(|error| Error::Settings(error.into()))?;
    loaded.framework.server.unix_socket = None;
    let logs = logs::start(&loaded.framework.logs, logs::Output::to(std::io::sink()))
        .map_err(|error| Error::Logs(error.into()))?;
    let parts = ServiceParts::assemble(build, sources, loaded, logs, Exporters::default())?;
    let admin = parts.admin()?;
    parts.shared.metrics.runtime(&Handle::current())?;
    let (stop, signals) = Signals::channel(parts.shared.stop.clone());
    let service = match parts.begin(&admin, signals, None, outer, start).await? {
        StartOutcome::Serving(service) => service,
        StartOutcome::Stopped(cause, _) => {
            let reason = cause.reason().unwrap_or_default().to_owned();
            return Err(Error::Stopped(reason));
        }
    };
    let (address, admin_address) = (service.address.socket_address(), admin.address);
    let (report, stopped) = oneshot::channel();
    let ended = admin.spawn(service.until_stopped());
    tokio::spawn(async move {
        let _ = report.send(ended.await.unwrap_or_default());
        // Dropping it joins its thread, which would block the test's runtime.
        tokio::task::spawn_blocking(|| drop(admin));
    });
    Ok(Running {
        address,
        admin: admin_address,
        stop,
        stopped,
    })
}
