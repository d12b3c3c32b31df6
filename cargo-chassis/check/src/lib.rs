//! Compares manifests, image, alerts and dashboards with a service's binary: `cargo chassis check` as a library.
//!
//! Each overlay is rendered as `kubectl apply -k` would render it, and compared with the binary:
//!
//! - Does the binary accept the settings that the overlay provides (`--check-config`, `--print-config`)?
//! - Do the settings exist (`--config-schema`)?
//! - Do the binary's listeners answer on the paths that the overlay requests?
//! - Does a live scrape have the metrics that the overlay uses?
//!
//! The modules:
//!
//! - [`Check`]: the files and the binary; [`Check::run`] returns the [`Fault`]s
//! - `sources`: the files to compare
//! - `render`: overlays as lists of resources with the file of each
//! - `binary`: the output of the binary
//! - `promql`: the metrics and labels in a query
//! - `rules`: the rules, one file for each subject
//!
//! ```no_run
//! let faults = cargo_chassis_check::Check::new("k8s", "target/release/orders").run()?;
//! for fault in &faults {
//!     eprintln!("{fault}");
//! }
//! # anyhow::Ok(())
//! ```

mod binary;
mod check;
mod fault;
mod promql;
mod render;
mod rules;
mod sources;

pub use check::Check;
pub use fault::Fault;
