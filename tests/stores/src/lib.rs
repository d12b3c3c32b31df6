//! What tests of stores share: real servers that stop and start again, a service as a process of its
//! own, and load.

mod http;
mod load;
mod postgres;
mod redis;
mod server;
mod service;

use std::time::{Duration, Instant};

pub use http::{Answer, request};
pub use load::{Asked, Load};
pub use postgres::{Held, Postgres};
pub use redis::Redis;
pub use server::{Process, free_port};
pub use service::{Ended, Service, run};

/// How long anything that is waited for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The password of every server: what must appear nowhere. Some of it has to be escaped in a URL.
pub const PASSWORD: &str = "hunter2/@:?#x";
/// The same in a URL.
pub const PASSWORD_IN_URL: &str = "hunter2%2F%40%3A%3F%23x";

/// Asks again and again until there is an answer.
///
/// # Panics
/// After [`PATIENCE`] without one.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
