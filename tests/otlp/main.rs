//! Traces on their way to collectors that work, hang, refuse, or are not there.

#![allow(clippy::unwrap_used)]

#[path = "../service/client.rs"]
#[allow(dead_code)]
mod client;
mod collector;
mod dropped_spans;
mod exported_spans;
mod own_main;
#[path = "../service/program.rs"]
#[allow(dead_code)]
mod program;
mod variables;
