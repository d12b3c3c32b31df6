//! Files of the crate with concurrency, tested with [loom](https://docs.rs/loom) in every interleaving.
//!
//! A file takes its locks and atomics from its parent module: the crate's is the standard library's,
//! and the one here is loom's. So the crate itself does not depend on loom.

#[cfg(test)]
mod logs;
#[cfg(test)]
mod server;
