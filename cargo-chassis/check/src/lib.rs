//! Compares manifests, image, alerts and dashboards with a service's binary: `cargo chassis check` as a library.
//!
//! Each overlay is rendered as `kubectl apply -k` would, and compared with the binary: whether it accepts the settings
//! that the overlay provides (`--check-config`, `--print-config`), which settings exist (`--config-schema`), what its
//! listeners answer, and which metrics a live scrape has.
//!
//! - [`Check`]: the files and the binary; [`Check::run`] returns the [`Fault`]s
//! - `sources`: the files to compare
//! - `render`: overlays as lists of resources with the file of each
//! - `binary`: the output of the binary
//! - `promql`: the metrics and labels in a query
//! - `rules`: the rules, one file a subject
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
