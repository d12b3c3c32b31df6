//! A base for HTTP services with axum: graceful shutdown, health checks, structured logging, metrics,
//! distributed tracing, limits and layered configuration.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, routing::get};
//! use axum_chassis::Service;
//!
//! fn main() -> ExitCode {
//!     Service::<()>::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).run(async |chassis| {
//!         // This runs inside the runtime. The service is live, and not ready yet.
//!         chassis.readiness().check("store", async || anyhow::Ok(()));
//!         chassis.on_stop("store", async || Ok(()));
//!         Ok(Router::new().route("/", get("hello")))
//!     })
//! }
//! ```
//!
//! The process listens on port 8080 for clients and on 9090 for operators, logs JSON, shuts down
//! gracefully on SIGTERM, and lists its flags with `--help`.
//!
//! # Contents
//!
//! - [`Service`] runs in `main`, [`Chassis`] is passed to the service's own start, and handlers
//!   return a [`Problem`] for an error response.
//! - [`settings`]: files, environment variables, secrets and flags, validated before anything starts.
//! - [`health`]: liveness, startup and readiness probes; checks that run in the background.
//! - [`logs`]: structured logging, one flat JSON object a line, written without blocking a request.
//! - [`metrics`]: Prometheus metrics with OpenTelemetry's names and a bounded number of series.
//! - [`trace`]: request IDs and W3C trace context. The crate `axum-chassis-otlp` exports traces.
//! - `openapi`, a feature: error responses in an OpenAPI description of the routes.
//! - [`request`]: the middleware around every route, and all outcomes of a request.
//! - [`client_ip`]: the client's address, also behind proxies.
//! - [`server`], [`admin`]: the two listeners. `admin-page`, a default feature: a page for people on call.
//! - [`shutdown`]: graceful shutdown.
//! - [`limits`]: request timeout, body limit and load shedding.
//! - [`TestChassis`]: unit tests of a service's own start. The crate `axum-chassis-testing` tests the real binary, from its start to
//!   its exit code.
//!
//! A program that keeps its own `main` uses [`Server`] in place of `axum::serve`, and the parts one by one.

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

// The groups below follow the layers of ARCHITECTURE.md, the lowest first. That page has the rule of who may import whom.
mod backoff;
mod boxed;
mod error;
mod platform;
mod problem;

mod threads;

pub mod client_ip;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod shutdown;

mod background;
mod observer;
#[cfg(feature = "openapi")]
pub mod openapi;

mod shared;

pub mod admin;
pub mod request;
pub mod server;

mod chassis_settings;

mod cli;

mod service;

pub use chassis_settings::{ChassisSettings, LoadedSettings, ServiceSettings};
pub use client_ip::ClientAddress;
pub use error::Error;
pub use platform::PlatformKind;
pub use problem::Problem;
pub use request::RoutePolicy;
pub use service::{BoundServer, Chassis, Exporter, Running, Server, Service, Stopped, TestChassis};

#[cfg(feature = "openapi")]
pub use aide;
#[doc(inline)]
pub use axum_chassis_logs::{self as logs, trace};
#[doc(inline)]
pub use axum_chassis_settings as settings;
pub use axum_chassis_settings::config;
#[cfg(feature = "prometheus")]
pub use prometheus;
pub use schemars;
