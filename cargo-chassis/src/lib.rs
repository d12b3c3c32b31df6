//! The tool around axum-chassis, `cargo chassis`: `new` makes a service, `check` holds its manifests against it.
//!
//! - [`cli`]: the command line
//! - [`new`]: a service of one's own
//! - [`check`]: do manifests, image, alerts and dashboards agree with the binary?

pub mod check;
pub mod cli;
pub mod new;

pub use check::{Check, Fault};
