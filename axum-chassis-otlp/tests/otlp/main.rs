//! Traces, metrics and logs on their way to collectors that work, hang, refuse, or are not there.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/service/client.rs"]
#[allow(dead_code)]
mod client;
mod collector;
mod conventions;
mod dropped_spans;
mod exported_spans;
mod logs;
mod metrics;
mod own_main;
#[path = "../../../tests/service/program.rs"]
#[allow(dead_code)]
mod program;
#[cfg(feature = "tls")]
mod tls;
mod variables;

use axum_chassis::Service;
use axum_chassis::settings::SettingsSchema;
use axum_chassis_otlp::Otlp;

/// Has the service under test export all signals.
pub(crate) fn extended<S: SettingsSchema>(service: Service<S>) -> Service<S> {
    service.export(Otlp::from_env)
}
