//! Redis, or Valkey, for a service on [`axum_chassis`], by the [`redis`](mod@redis) crate.
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
//! The call waits until Redis answers, for `service.start_timeout` at most. From then on a readiness
//! check asks it, and errors that reach the client by `?` mean what they should (see [`classify_error`]).
//! [`redis_rotating`] also follows a password that is rotated in a mounted secret.
//!
//! # Why the redis crate, and what a pool is here
//!
//! The redis crate is released every few weeks by several people, and its [`ConnectionManager`]
//! reconnects by itself; the last release of fred, which does as much and has a pool of its own, is
//! of March 2025.
//!
//! A [`ConnectionManager`] sends the commands of everybody on one connection, without waiting for
//! the answers between: one is enough for tens of thousands of commands a second, and there is no
//! pool that could be exhausted. `pool_size` is how many there are, for large values or slow
//! scripts, behind which the other answers of the same connection wait; [`Pool::get`] hands them out
//! in turn. Commands that block (`BLPOP`) or that watch (`WATCH`) belong on connections of their own:
//! [`Pool::client`].
//!
//! Connections speak RESP3, by which a manager learns at once that its connection is gone, rather
//! than by the next command, which would fail. It needs Redis 6 or later; a proxy that does not know
//! it takes `?protocol=resp2` in the URL.
//!
//! # Features
//!
//! None by default. `tls` is for `rediss://` URLs, by rustls with ring, which needs a C compiler. It
//! trusts the authorities of the system, or those of the file that `SSL_CERT_FILE` names: a URL has no
//! place for them, and a Redis of a cloud has often an authority of its own.
//!
//! [`ConnectionManager`]: redis::aio::ConnectionManager

#![forbid(unsafe_code)]

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
