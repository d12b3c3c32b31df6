//! Tokens, keys and providers, good and bad, with a service in a process of its own.

#![allow(clippy::unwrap_used)]

mod keys;
mod program;
mod provider;
mod responses;
mod speed;
mod start;
mod tokens;
