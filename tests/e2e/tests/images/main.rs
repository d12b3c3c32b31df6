//! Builds the images for real, runs them as hardened as a cluster would, and looks at what they do.
//!
//! `cargo test -p e2e --test images -- --ignored` needs a Docker whose client has BuildKit (any
//! `docker` on PATH or in /usr/bin, or the one that `DOCKER` names) and the base images. Without
//! `--ignored` only what the files themselves show is tested. `--skip measure` leaves out what only
//! measures, `--skip nightly` what `.ci/run` leaves to each night.

mod caching;
mod contents;
mod docker;
mod errors;
mod files;
mod generated;
mod nightly;
mod project_options;
mod projects;
mod service;
mod shapes;
mod stores;
