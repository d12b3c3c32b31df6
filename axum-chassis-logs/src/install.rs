//! Installs the log for the whole process: `tracing`'s subscriber, the logger of `log`, the panic hook.

use std::sync::atomic::Ordering;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::{Logs, Output, Settings, SetupError, bridge, layer, panics, start};

/// A `tracing` layer of another crate, such as Sentry's.
pub type TracingLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Like [`install`](super::install), with additional `tracing` layers. The log's filter applies to the layer `filtered`. The layers
/// `others` have filters of their own.
///
/// # Errors
///
/// The same as [`install`](super::install).
pub fn install_with_layers(
    settings: &Settings,
    filtered: Option<TracingLayer>,
    mut others: Vec<TracingLayer>,
) -> Result<Logs, SetupError> {
    let logs = start(settings, Output::stdout())?;
    let lines = layer::Lines(logs.shared.clone());
    // Without other layers, the filter is global, so that events that it rejects cost nothing.
    let installed = if others.is_empty() {
        let subscriber = tracing_subscriber::registry().with(filtered).with(lines);
        tracing::subscriber::set_global_default(subscriber)
    } else {
        let filter = || layer::OwnFilter(logs.shared.clone());
        others.extend(filtered.map(|layer| layer.with_filter(filter()).boxed()));
        let subscriber = tracing_subscriber::registry()
            .with(others)
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
