//! Bearer tokens for a service on [`axum_chassis`]: who the caller of a request is, and what the caller may do.
//!
//! The tokens are the signed JWT access tokens of an OpenID or OAuth 2.0 provider.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use axum::{Router, routing::get};
//! use axum_chassis::Service;
//! use axum_chassis::schemars::{self, JsonSchema};
//! use axum_chassis::settings::{Validate, ValidationErrors};
//! use axum_chassis_auth::Caller;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Settings {
//!     auth: axum_chassis_auth::Settings,
//! }
//!
//! impl Validate for Settings {
//!     fn validate(&self, errors: &mut ValidationErrors) {
//!         errors.within("auth", &self.auth);
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Service::<Settings>::new("orders", env!("CARGO_PKG_VERSION")).run(async |chassis| {
//!         let auth = axum_chassis_auth::auth(&chassis, "auth", &chassis.settings().auth).await?;
//!         Ok(Router::new()
//!             .route("/orders", get(orders).layer(auth.require("orders:read")))
//!             .route_layer(auth.layer()))
//!     })
//! }
//!
//! async fn orders(Caller(caller): Caller) -> String {
//!     format!("orders of {}", caller.subject)
//! }
//! ```
//!
//! Two settings are required: `auth.issuer`, where the keys are found, and `auth.audience`, the name of the service in
//! tokens. [`Settings`] has the others.
//!
//! - [`auth()`] waits for the issuer's keys at the start, and refreshes them in the background. If the provider is down
//!   later, the known keys stay in use.
//! - [`Auth::layer`] and [`Auth::require`] reject requests with 401, 403 and `WWW-Authenticate` as
//!   [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) defines them, with a [`Problem`](axum_chassis::Problem) as body.
//! - [`Caller`] extracts the claims in a handler.
//! - `openapi`, a feature: the security scheme in the OpenAPI document, and the routes that need a token.
//! - `testing`, a feature: an issuer for tests, which signs tokens, rotates its keys, and fails on request.
//!
//! The health routes and the admin port do not need a token, because the layers are only around the service's own routes.
//! docs/auth.md in the repository has the rejected tokens, the metrics, and the effects of failures of the provider.
//!
//! # Cryptography
//!
//! [jsonwebtoken](https://docs.rs/jsonwebtoken) parses and validates tokens. Signatures are verified with ring. The
//! provider is installed for the process, unless the service has installed another one, or has enabled one of
//! jsonwebtoken's features `aws_lc_rs` and `rust_crypto`. A service that also signs tokens with jsonwebtoken has to do one
//! of the two, because the provider with ring only verifies.

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod access_line;
mod algorithm;
mod auth;
mod caller;
mod claims;
mod crypto;
mod fetch;
mod keys;
mod layer;
#[cfg(feature = "openapi")]
pub mod openapi;
mod outcome;
mod settings;
mod source;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

pub use algorithm::Algorithm;
pub use auth::{Auth, auth};
pub use caller::Caller;
pub use claims::Claims;
pub use layer::{RequireToken, RequireTokenService};
pub use settings::Settings;
