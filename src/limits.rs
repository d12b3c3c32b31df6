//! Limits of requests: timeout, body size, concurrency, connections, memory for bodies.
//!
//! Limits that are not set derive from the container's memory limit: the crate `axum-chassis-server` has their table.

#[doc(inline)]
pub use axum_chassis_server::limits::Settings;
