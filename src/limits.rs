//! Limits of requests: timeout, body size, concurrency, connections, memory for bodies.
//!
//! Limits that are not set derive from the container's memory limit: see [the table](axum_chassis_server::limits).

#[doc(inline)]
pub use axum_chassis_server::limits::Settings;
