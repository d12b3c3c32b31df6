//! Installs the log for the whole process: `tracing`'s subscriber, the logger of `log`, the panic hook.

use std::sync::atomic::Ordering;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::{Logs, Output, Settings, SetupError, bridge, layer, panics, start};
use crate::otlp::Export;

/// A layer of another crate, such as Sentry's.
pub(crate) type OtherLayer = Box<dyn Layer<Registry> + Send + Sync>;

pub(crate) fn install_beside(
    settings: &Settings,
    export: &Export,
    others: Vec<OtherLayer>,
) -> Result<Logs, SetupError> {
    let logs = start(settings, Output::stdout())?;
    let lines = layer::Lines(logs.shared.clone());
    // Without other layers, the filter is global, so that events that it rejects cost nothing.
    let installed = if others.is_empty() {
        let export = export.layer();
        let subscriber = tracing_subscriber::registry().with(export).with(lines);
        tracing::subscriber::set_global_default(subscriber)
    } else {
        let filter = || layer::OwnFilter(logs.shared.clone());
        let export = export.layer().map(|export| export.with_filter(filter()));
        let subscriber = tracing_subscriber::registry()
            .with(others)
            .with(export)
            .with(lines.with_filter(filter()));
        tracing::subscriber::set_global_default(subscriber)
    };
    installed.map_err(|_| SetupError::Installed)?;
    log::set_boxed_logger(Box::new(bridge::Bridge(logs.shared.clone())))
        .map_err(|_| SetupError::Installed)?;
    logs.shared.is_installed.store(true, Ordering::Relaxed);
    bridge::set_max_level(logs.shared.filter.max_level());
    std::panic::set_hook(Box::new(panics::hook(logs.shared.clone())));
    Ok(logs)
}
