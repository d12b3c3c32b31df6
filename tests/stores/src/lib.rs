//! Shared parts of the tests of stores: real servers that stop and restart, load, and observed output.

mod certificates;
mod http;
mod load;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;
mod server;

use std::time::{Duration, Instant};

use axum_chassis_testing::Process as Service;

pub use certificates::Certificates;
pub use http::{Answer, request};
pub use load::{Asked, Load};
pub use pgbouncer::PgBouncer;
pub use postgres::{Held, Postgres};
pub use proxy::Proxy;
pub use redis::Redis;
pub use server::{Process, free_port};

/// Timeout of every wait.
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

/// Returns once a service says that it is not ready any more.
pub fn wait_until_not_ready(service: &Service) {
    wait_for("no readiness", || {
        (service.admin().get("/health/readiness").status == 503).then_some(())
    });
}

/// A metric's value, by its name and labels as they are written.
pub fn metric(service: &Service, name: &str) -> Option<f64> {
    let scraped = service.admin().get("/metrics");
    let mut lines = scraped.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}
