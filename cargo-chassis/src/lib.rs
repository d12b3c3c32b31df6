//! The tool around axum-chassis, `cargo chassis`.
//!
//! - [`cli`]: the command line
//! - `new`: a service of one's own; `vendor`: with the crate in its own folder
//! - `add`: single assets for a Cargo project that is there already
//! - `update`: what the template has changed since, merged
//! - [`check`]: do manifests, image, alerts and dashboards agree with the binary?
//! - [`carried`]: the templates and the crate that are inside the tool; `archive`: how
//! - `rust`: whether the compiler is new enough
//! - `template`: what a template asks, and what it makes of the answers; `record`: what a project keeps of that

mod add;
pub mod archive;
mod cargo;
pub mod carried;
pub mod check;
pub mod cli;
mod new;
mod record;
mod rust;
mod say;
pub mod template;
mod update;
mod vendor;

pub use check::{Check, Fault};
