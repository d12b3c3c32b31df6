//! What an axum service needs around its routes: layered settings, health, JSON logs, metrics,
//! limits and an orderly stop.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, routing::get};
//! use axum_chassis::Service;
//!
//! fn main() -> ExitCode {
//!     Service::<()>::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).run(async |chassis| {
//!         // Inside the runtime, live and not yet ready.
//!         chassis.readiness().check("store", async || anyhow::Ok(()));
//!         chassis.on_stop("store", async || Ok(()));
//!         Ok(Router::new().route("/", get("hello")))
//!     })
//! }
//! ```
//!
//! The process listens on port 8080 for its clients and on 9090 for whoever runs it, logs JSON,
//! stops in order on SIGTERM, and explains itself with `--help`.
//!
//! # Contents
//!
//! - [`Service`] is what `main` makes, [`Chassis`] what the service's own start gets, and
//!   [`Problem`] what handlers return for errors.
//! - [`settings`]: files, variables, secrets and flags, checked whole before anything starts.
//! - [`health`]: live, started, ready; checks that run in the background.
//! - [`logs`]: one flat JSON object a line, written without holding a request up.
//! - [`metrics`]: OpenTelemetry's names, series bounded by construction.
//! - [`trace`]: request ids and W3C trace context.
//! - `openapi`, behind the feature of that name: errors in a description of the routes that is made from their types.
//! - `otlp`, behind the feature of that name: traces, exported to a collector.
//! - [`request`]: what happens around every request, and how each outcome looks.
//! - [`client`]: whose request it is, also behind proxies.
//! - [`server`], [`admin`]: the two listeners.
//! - [`shutdown`]: the order of stopping.
//! - [`limits`]: what requests may take.
//! - `testing`, a feature for dev-dependencies: tests of the real binary, from its start to its exit code.
//!
//! The parts are usable one by one, for a team that keeps its own `main`.

#![forbid(unsafe_code)]

// Lower rows never import higher ones; files of one row never import each other.
mod backoff;
mod boxed;
mod cgroup;
mod chunks;
mod error;
mod network;
#[cfg(not(feature = "otlp"))]
mod otlp;
#[cfg(feature = "otlp")]
pub mod otlp;
mod problem;
mod redact;
pub mod trace;
mod upload;

pub mod settings;

pub mod client;
pub mod health;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod shutdown;

mod background;
#[cfg(feature = "openapi")]
pub mod openapi;

pub mod admin;
pub mod request;
pub mod server;

mod sections;

mod cli;

mod service;

#[cfg(all(unix, feature = "testing"))]
pub mod testing;

pub use client::ClientAddress;
pub use error::Error;
pub use problem::Problem;
pub use sections::{LoadedSettings, Sections};
pub use service::{Chassis, Running, Service, Stopped};

#[cfg(feature = "openapi")]
pub use aide;
pub use config;
pub use prometheus;
pub use schemars;
