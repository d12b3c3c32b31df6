//! The tool of axum-chassis, `cargo chassis`.
//!
//! - [`cli`]: the command line
//! - `new`: generates a service; `vendor`: copies the crate into it
//! - `add`: adds single parts of the template to an existing Cargo project
//! - `update`: merges changes of the template
//! - `doctor`: lists the parts of a project that are behind; [`calendar`]: dates
//! - `check`: compares manifests, image, alerts and dashboards with the binary
//! - [`embedded`]: the templates and the crate embedded in the tool; [`archive`]: their format
//! - `rust`: checks the compiler's version
//! - `outcome`: the exit code and the report of a command
//! - [`template`]: the questions, and rendering; `answers`: the answers in a project

mod add;
mod answers;
pub mod archive;
pub mod calendar;
mod cargo;
#[cfg(feature = "check")]
mod check;
pub mod cli;
mod doctor;
pub mod embedded;
mod new;
mod outcome;
mod rust;
mod status;
pub mod template;
mod update;
mod vendor;
