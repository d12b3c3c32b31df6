//! One-off commands of a service: its settings, logs and stores, without listeners.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Stopped;
use super::chassis::{Chassis, Platform};
use super::process;
use super::retry::RetryLimit;
use super::teardown::{self, Teardown};
use crate::admin::{Build, OwnRoutes};
use crate::background::BackgroundTasks;
use crate::chassis_settings::LoadedSettings;
use crate::cli;
use crate::error::Error;
use crate::health::Readiness;
use crate::logs::{self, OtherLayer};
use crate::metrics::Metrics;
use crate::otlp::Export;
use crate::problem::ErrorMap;
use crate::request::Observers;
use crate::settings::{SettingsSchema, Sources};
use crate::shutdown::{self, Phase, Signals, Trigger};
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

/// A whole process, from its settings to its exit code.
pub(super) fn run<S: SettingsSchema>(
    build: Build,
    sources: Sources,
    layers: Vec<OtherLayer>,
    command: Command<S>,
) -> Result<ExitCode, Error> {
    let name = command.listed.name;
    process::logged(&build, &sources, layers, Some(name), |loaded, _, export| {
        let (runtime, _) = threads::runtime(loaded.chassis.service.threads)?;
        teardown::block_on(
            runtime,
            Box::pin(work(build.clone(), loaded, export, command)),
        )
    })
}

async fn work<S: SettingsSchema>(
    build: Build,
    loaded: LoadedSettings<S>,
    export: Export,
    command: Command<S>,
) -> Result<Stopped, Error> {
    let begun = Instant::now();
    let sections = loaded.chassis;
    let mut signals = Signals::listen().map_err(Error::Runtime)?;
    let trigger = Trigger::new();
    let initial = Arc::new(loaded.service);
    // A command's settings never change, so watchers wait.
    let settings = watch::Sender::new(initial.clone());
    let teardown = Teardown {
        tasks: BackgroundTasks::default(),
        hooks: Arc::default(),
        export,
        service: Handle::current(),
    };
    let mut work = (command.run)(Chassis {
        platform: Arc::new(Platform {
            build,
            settings: sections.clone(),
            stop: signals.program(),
            // Without a listener.
            admin_routes: OwnRoutes::default(),
            observers: Observers::default(),
        }),
        settings: settings.subscribe(),
        initial,
        readiness: Readiness::new(sections.health),
        metrics: Metrics::new(),
        shutdown: trigger.watch(),
        error_map: ErrorMap::default(),
        tasks: teardown.tasks.clone(),
        hooks: teardown.hooks.clone(),
        retry_limit: RetryLimit::of_command(*sections.service.start_timeout),
    });

    let mut end = sections.shutdown;
    let result = tokio::select! {
        biased;
        result = &mut work => Some(result),
        cause = signals.stop() => {
            tracing::info!(signal = cause.signal(), reason = cause.reason(), "stopping");
            trigger.advance(Phase::Closing);
            let told = Instant::now();
            let in_time = teardown.time_before(&end);
            let result = tokio::select! {
                biased;
                result = tokio::time::timeout(in_time, &mut work) => result.ok(),
                _ = signals.abort() => None,
            };
            // One deadline for all of a stop.
            let left = end.deadline.saturating_sub(told.elapsed());
            end = shutdown::Settings { deadline: left.into(), ..end };
            result
        }
    };
    // An aborted command must not run while its stores are closed.
    drop(work);
    let stopped = teardown.run(&end, &trigger).await;
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
