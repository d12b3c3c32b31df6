//! Files of the crate in which threads meet, tried in every order that [loom](https://docs.rs/loom) finds.
//!
//! A file takes its locks and atomics from its parent module: the crate's is the standard library's,
//! and the one here is loom's. So the crate itself knows nothing of loom.

#[cfg(test)]
mod logs;
#[cfg(test)]
mod server;
