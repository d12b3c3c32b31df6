//! What an axum service needs around its routes: layered settings, health, JSON logs, metrics,
//! limits and an orderly stop.

#![forbid(unsafe_code)]

pub mod settings;
pub mod trace;

pub use prometheus;
pub use schemars;
