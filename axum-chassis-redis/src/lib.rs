//! Redis or Valkey for a service on [`axum_chassis`], with the [`redis`](mod@redis) crate.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, extract::State, routing::post};
//! use axum_chassis::schemars::{self, JsonSchema};
//! use axum_chassis::settings::{Validate, ValidationErrors};
//! use axum_chassis::{Problem, Service};
//! use axum_chassis_redis::{Pool, redis::AsyncTypedCommands};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Settings {
//!     redis: axum_chassis_redis::Settings,
//! }
//!
//! impl Validate for Settings {
//!     fn validate(&self, errors: &mut ValidationErrors) {
//!         errors.within("redis", &self.redis);
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Service::<Settings>::new("counter", env!("CARGO_PKG_VERSION")).run(async |chassis| {
//!         let redis = axum_chassis_redis::redis(&chassis, "redis", &chassis.settings().redis).await?;
//!         Ok(Router::new().route("/", post(count)).with_state(redis))
//!     })
//! }
//!
//! async fn count(State(redis): State<Pool>) -> Result<String, Problem> {
//!     Ok(redis.get().incr("visits", 1).await?.to_string())
//! }
//! ```
//!
//! [`redis()`] waits until Redis is available, for at most `service.start_timeout`. Afterwards a readiness check tests
//! the connections, and errors that a handler returns with `?` get a matching status (see [`classify_error`]).
//! [`redis_rotating`] also follows a password that is rotated in a mounted secret.
//!
//! # Why the redis crate, and what a pool is here
//!
//! The redis crate has several maintainers and a release every few weeks, and its [`ConnectionManager`] reconnects by itself.
//! The alternative is fred, which reconnects too and has a pool of its own; its last release is from March 2025.
//!
//! A [`ConnectionManager`] pipelines the commands of all callers on one connection. One connection is enough for tens
//! of thousands of commands a second, and the pool cannot be exhausted. Set a larger `pool_size` if values are large or
//! scripts are slow, because other responses on the same connection have to wait for them. [`Pool::get`] hands out the
//! connections in turn. Commands that block (`BLPOP`) or watch (`WATCH`) need a connection of their own:
//! [`Pool::client`].
//!
//! Connections use RESP3. With it, a manager notices a lost connection immediately. Without it, a manager notices the
//! loss only at the next command, and this command fails. RESP3 needs Redis 6 or later. For a proxy without RESP3, add
//! `?protocol=resp2` to the URL.
//!
//! # Features
//!
//! No feature is on by default. `tls` adds `rediss://` URLs with rustls and ring, which needs a C compiler. It trusts
//! the system's certificate authorities, or those in the file that `SSL_CERT_FILE` names. Cloud providers often have
//! authorities of their own; a URL cannot name them, so set this variable.
//!
//! [`ConnectionManager`]: redis::aio::ConnectionManager

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod address;
mod classify_error;
mod pool;
mod rotation;
mod settings;

pub use classify_error::classify_error;
pub use pool::{Pool, redis};
pub use rotation::redis_rotating;
pub use settings::Settings;

pub use ::redis;
