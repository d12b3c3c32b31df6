//! What an axum service needs around its routes: layered settings, health, JSON logs, metrics,
//! limits and an orderly stop.

#![forbid(unsafe_code)]

mod cgroup;
pub mod logs;
pub mod metrics;
pub mod settings;
pub mod trace;

pub use prometheus;
pub use schemars;
