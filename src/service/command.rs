//! One-off commands of a service, which have its settings, logs and stores, but no listeners.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::Stopped;
use super::chassis::Chassis;
use super::exporter::{Exporters, Telemetry};
use super::process;
use super::retry::RetryLimit;
use super::start::share;
use super::teardown::{self, Teardown};
use crate::chassis_settings::LoadedSettings;
use crate::cli;
use crate::error::Error;
use crate::logs;
use crate::settings::{SettingsSchema, Sources};
use crate::shared::{Build, Shared};
use crate::shutdown::{Phase, Signals, Trigger};
use crate::threads;

type Run<S> = dyn FnOnce(Chassis<S>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

pub(super) struct Command<S> {
    pub(super) listed: cli::CommandInfo,
    run: Box<Run<S>>,
}

impl<S: SettingsSchema> Command<S> {
    pub(super) fn new(
        name: &'static str,
        about: &'static str,
        run: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<()> + 'static,
    ) -> Self {
        Self {
            listed: cli::CommandInfo { name, about },
            run: Box::new(|chassis| Box::pin(async move { run(chassis).await })),
        }
    }
}

/// Runs the whole process of a command, from its settings to its exit code.
pub(super) fn run<S: SettingsSchema>(
    build: Build,
    sources: Sources,
    telemetry: Telemetry,
    command: Command<S>,
) -> Result<ExitCode, Error> {
    let name = command.listed.name;
    process::logged(
        &build,
        &sources,
        telemetry,
        Some(name),
        |loaded, logs, exporters| {
            let (runtime, _) = threads::runtime(loaded.framework.service.threads)?;
            let (shared, trigger) = share(build.clone(), &loaded.framework, logs.clone())?;
            let work = work(shared, trigger, loaded, exporters, command);
            teardown::block_on(runtime, Box::pin(work))
        },
    )
}

async fn work<S: SettingsSchema>(
    shared: Arc<Shared>,
    trigger: Trigger,
    loaded: LoadedSettings<S>,
    exporters: Exporters,
    command: Command<S>,
) -> Result<Stopped, Error> {
    let begun = Instant::now();
    let sections = Arc::new(loaded.framework);
    let mut signals = Signals::listen(shared.stop.clone()).map_err(Error::Runtime)?;
    let initial = Arc::new(loaded.service);
    // A command's settings never change. The sender is kept, so that watchers wait instead of failing.
    let settings = watch::Sender::new(initial.clone());
    let mut teardown = Teardown::new(
        shared.clone(),
        trigger,
        sections.shutdown.clone(),
        exporters.clone(),
    );
    let chassis = Chassis {
        shared,
        chassis_settings: sections.clone(),
        settings: settings.subscribe(),
        initial,
        retry_limit: RetryLimit::of_command(*sections.service.start_timeout),
    };
    let mut work = Box::pin(async move {
        exporters.attach(&chassis)?;
        (command.run)(chassis).await
    });

    let result = tokio::select! {
        biased;
        result = &mut work => Some(result),
        cause = signals.stop() => {
            tracing::info!(signal = cause.signal(), reason = cause.reason(), "stopping");
            teardown.trigger.advance(Phase::Closing);
            let told = Instant::now();
            let in_time = teardown.time_before();
            let result = tokio::select! {
                biased;
                result = tokio::time::timeout(in_time, &mut work) => result.ok(),
                _ = signals.abort() => None,
            };
            // The teardown gets only the rest of the time, so that one deadline applies to the whole shutdown.
            let deadline = &mut teardown.settings.deadline;
            *deadline = deadline.saturating_sub(told.elapsed()).into();
            result
        }
    };
    // Dropping the future aborts the command. It must not run any more when the hooks close its stores.
    drop(work);
    let stopped = teardown.run().await;
    let duration_ms = logs::milliseconds(begun.elapsed());
    match result {
        Some(Ok(())) => {
            tracing::info!(duration_ms, "done");
            Ok(stopped)
        }
        Some(Err(error)) => Err(Error::Command(error)),
        None => {
            tracing::warn!(duration_ms, "command aborted");
            let aborted_tasks = stopped.aborted_tasks + 1;
            Ok(Stopped {
                aborted_tasks,
                ..stopped
            })
        }
    }
}
