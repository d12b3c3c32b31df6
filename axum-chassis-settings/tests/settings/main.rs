//! Settings: sources, syntax, types, and error messages.

// A test may say what it takes for granted.
#![allow(clippy::unwrap_used)]

mod config_behaviour;
mod display;
mod fixture;
mod fuzz;
mod layers;
mod names;
mod redaction;
mod reload;
mod renamed;
mod serde_shapes;
mod shapes;
mod sources;
mod structs;
mod units;
mod wrong;
