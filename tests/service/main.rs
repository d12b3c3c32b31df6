//! Services as processes of their own: real sockets, real signals, real clients.

#![allow(clippy::unwrap_used)]

mod admin;
mod background;
mod bytes;
mod client;
mod commands;
mod flags;
mod forwarded;
mod hostile;
mod kit;
mod log;
mod outcomes;
mod page;
mod program;
mod reload;
mod stop;
mod wait;
