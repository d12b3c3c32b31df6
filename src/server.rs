//! The main listener: its settings, and sockets that the program itself opens or inherits. The crate `axum-chassis-server`
//! has the server.

#[doc(inline)]
pub use axum_chassis_server::{ListenSocket, Settings};
