//! A server for axum routers with limits on what clients can take, and a graceful shutdown with a deadline.
//!
//! `axum::serve` has no header timeout, no limit on connections and no deadline for its graceful shutdown. This server,
//! on hyper, has:
//!
//! - timeouts for the head of a request, for idle connections, and for clients that do not read their response
//! - a limit on connections: a new one closes the one that has been idle longest ([`Limits`])
//! - a check of `Host`, for requests whose host a proxy could understand differently
//! - an early response that the client receives although it is still sending its request
//! - TCP, Unix sockets and sockets that systemd has opened ([`ListenSocket`])
//! - a warning in the log, and a reason in [`Events`], for TLS or PROXY protocol on the plain port, and for invalid requests
//! - a shutdown that finishes the requests in flight, then aborts the rest ([`shutdown`])
//! - the client's address behind trusted proxies ([`client_ip`])
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use axum_chassis_server::{Bound, Limits, Routers, Settings, limits, shutdown};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::default();
//! let limits = Limits::new(&limits::Settings::default(), settings.max_connections);
//! let routers = Routers::new(Router::new().route("/", get("hello")));
//! let (trigger, shutdown) = shutdown::channel();
//!
//! let listening = Bound::tcp("127.0.0.1", 0)?.listen()?;
//! let serving = tokio::spawn(listening.serve(routers, settings, limits, shutdown, Arc::new(())));
//!
//! trigger.stop();
//! // Requests in flight have 10 seconds to finish. After that, dropping the trigger aborts them.
//! let in_time = tokio::time::timeout(Duration::from_secs(10), serving).await;
//! drop(trigger);
//! assert!(in_time.is_ok());
//! # Ok(()) }
//! ```
//!
//! The main listener and the admin listener of [axum-chassis](https://docs.rs/axum-chassis) are servers of this crate. What is
//! hidden in this documentation is for that crate.

#![forbid(unsafe_code)]
// Public types can grow without a breaking change, and each one has `Debug`.
#![warn(
    missing_debug_implementations,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::return_self_not_must_use
)]

mod causes;
#[doc(hidden)]
pub mod cgroup;
#[doc(hidden)]
pub mod chunks;
pub mod client_ip;
mod events;
pub mod limits;
mod rate_limit;
mod server;
pub mod shutdown;
mod upload;

#[doc(no_inline)]
pub use axum_chassis_settings as settings;
pub use events::Events;
pub use limits::Limits;
#[doc(hidden)]
pub use rate_limit::RateLimit;
pub use server::{BindError, Bound, ListenAddress, ListenSocket, Listening, Routers, Settings};
#[doc(hidden)]
pub use upload::Upload;
