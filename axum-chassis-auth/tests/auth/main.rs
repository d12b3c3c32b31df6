//! Tokens, keys and providers, good and bad, with a service in a process of its own.

#![allow(clippy::unwrap_used)]

mod keys;
mod measure;
mod program;
mod provider;
mod responses;
mod start;
mod tls;
mod tokens;
