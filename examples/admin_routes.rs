//! A service's own routes on the admin port: one returns the size of a cache, the other empties the cache.
//!
//! ```sh
//! cargo run --example admin_routes
//! curl localhost:8080/square/12                     # fills the cache
//! curl localhost:9090/cache
//! curl --request DELETE localhost:9090/cache        # from localhost, or with admin.token
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use axum_chassis::{Chassis, Service};
use http::StatusCode;

fn main() -> ExitCode {
    Service::<()>::new("admin_routes", env!("CARGO_PKG_VERSION")).run(start)
}

pub(crate) async fn start(chassis: Chassis<()>) -> anyhow::Result<Router> {
    let cache = Cache::default();
    chassis.admin_routes(
        Router::new()
            .route("/cache", get(size).delete(empty))
            .with_state(cache.clone()),
    )?;
    Ok(Router::new()
        .route("/square/{number}", get(square))
        .with_state(cache))
}

/// Squares that have already been computed.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<BTreeMap<u32, u64>>>);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn square(State(cache): State<Cache>, Path(number): Path<u32>) -> String {
    let mut known = cache.lock();
    let square = known
        .entry(number)
        .or_insert_with(|| u64::from(number).pow(2));
    square.to_string()
}

async fn size(State(cache): State<Cache>) -> String {
    cache.lock().len().to_string()
}

async fn empty(State(cache): State<Cache>) -> StatusCode {
    cache.lock().clear();
    StatusCode::NO_CONTENT
}
