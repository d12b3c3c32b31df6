//! Traces and metrics on their way to collectors that work, hang, refuse, or are not there.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/service/client.rs"]
#[allow(dead_code)]
mod client;
mod collector;
mod dropped_spans;
mod exported_spans;
mod metrics;
mod own_main;
#[path = "../../../tests/service/program.rs"]
#[allow(dead_code)]
mod program;
mod variables;

use axum_chassis::Service;
use axum_chassis::settings::SettingsSchema;
use axum_chassis_otlp::{MetricsExport, Traces};

/// Has the service under test export its traces and metrics.
pub(crate) fn extended<S: SettingsSchema>(service: Service<S>) -> Service<S> {
    service
        .export(Traces::from_env)
        .export(MetricsExport::from_env)
}
