//! Settings: what may be written where, what it means, and what is said when it is wrong.

// A test may say what it takes for granted.
#![allow(clippy::unwrap_used)]

mod anything;
mod fixture;
mod layers;
mod names;
mod reload;
mod shapes;
mod shown;
mod structs;
mod units;
mod wrong;
