//! PostgreSQL and SQLite for a service on [`axum_chassis`], with [`sqlx`].
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] mod service {
//! use std::process::ExitCode;
//!
//! use axum::{Router, extract::State, routing::get};
//! use axum_chassis::schemars::{self, JsonSchema};
//! use axum_chassis::settings::{Validate, ValidationErrors};
//! use axum_chassis::{Problem, Service};
//! use serde::{Deserialize, Serialize};
//! use sqlx::PgPool;
//!
//! #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Settings {
//!     database: axum_chassis_sqlx::Settings,
//! }
//!
//! impl Validate for Settings {
//!     fn validate(&self, errors: &mut ValidationErrors) {
//!         errors.within("database", &self.database);
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Service::<Settings>::new("orders", env!("CARGO_PKG_VERSION")).run(async |chassis| {
//!         let settings = &chassis.settings().database;
//!         let pool = axum_chassis_sqlx::postgres(&chassis, "database", settings).await?;
//!         Ok(Router::new().route("/orders", get(count)).with_state(pool))
//!     })
//! }
//!
//! async fn count(State(pool): State<PgPool>) -> Result<String, Problem> {
//!     let (orders,): (i64,) = sqlx::query_as("SELECT count(*) FROM orders").fetch_one(&pool).await?;
//!     Ok(orders.to_string())
//! }
//! # }
//! ```
//!
//! The call waits until the database is available, for at most `service.start_timeout`. It adds a readiness check and
//! pool metrics, and closes the pool after the last request. Errors that a handler returns with `?` get a matching
//! status (see [`classify_error`]). The return value is sqlx's own pool: queries, transactions and migrations are
//! sqlx's. `postgres_rotating` also follows a password that is rotated in a mounted secret.
//!
//! # Features
//!
//! No feature is on by default. `postgres` and `sqlite` are the drivers, `migrate` runs migrations of PostgreSQL, and
//! `testing` is for `[dev-dependencies]`. The drivers need a C compiler: PostgreSQL's TLS uses ring, and SQLite itself
//! is compiled in. sqlx 0.9 needs Rust 1.94, and so does this crate.
//!
//! TLS trusts Mozilla's list of certificate authorities, which is compiled in. A service therefore trusts the same
//! authorities on a laptop and in an image without certificates (distroless `static`, `scratch`). Add a company's or
//! cloud provider's authority with `?sslrootcert=FILE` in the URL.

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
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod open;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_url;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;

pub use classify_error::classify_error;
#[cfg(all(feature = "migrate", feature = "postgres"))]
pub use postgres::migrate;
#[cfg(feature = "postgres")]
pub use postgres::{postgres, postgres_rotating};
pub use settings::Settings;
#[cfg(feature = "sqlite")]
pub use sqlite::sqlite;

pub use sqlx;
