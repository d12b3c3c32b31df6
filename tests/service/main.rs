//! Services as processes of their own: real sockets, real signals, real clients.

#![allow(clippy::unwrap_used)]

mod accounting;
mod admin;
#[cfg(feature = "admin-page")]
mod admin_page;
mod admin_routes;
mod background;
mod client;
mod client_address;
mod commands;
mod connections;
mod examples;
mod exporters;
mod flags;
mod hostile_clients;
mod http2;
mod http_fuzz;
mod layers;
mod log_output;
mod memory_limits;
mod observers;
mod outcomes;
mod program;
mod reload;
mod route_policy;
mod slow_clients;
mod start_retry;
mod stop;
mod test_kit;
mod tracing_layers;
mod unix_socket;

/// Adds parts to the service under test; the tests of the crate `axum-chassis-otlp` add theirs.
pub(crate) use exporters::extended;
