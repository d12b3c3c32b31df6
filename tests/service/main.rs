//! Services as processes of their own: real sockets, real signals, real clients.

#![allow(clippy::unwrap_used)]

mod admin;
mod client;
mod flags;
mod hostile;
mod log;
mod outcomes;
mod program;
mod reload;
mod stop;
