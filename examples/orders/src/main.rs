//! Takes orders and stores them in PostgreSQL or in an SQLite file, as `database.url` selects. Counts views in Redis if
//! `redis.url` is set.
//!
//! ```sh
//! export DATABASE_URL=sqlite:orders.db
//! cargo run -p example-orders -- migrate
//! cargo run -p example-orders
//! curl --json '{"reference": "A-1", "item": "tea", "quantity": 2}' localhost:8080/orders
//! curl localhost:8080/orders/1
//! ```

mod routes;
mod settings;
mod store;

use std::process::ExitCode;

use axum::Router;
use axum_chassis::{Chassis, Service};

use crate::routes::Orders;
use crate::settings::Settings;
use crate::store::Store;

fn main() -> ExitCode {
    Service::<Settings>::new("orders", env!("CARGO_PKG_VERSION"))
        .revision(option_env!("REVISION"))
        .built_at(option_env!("CREATED"))
        .export(axum_chassis_otlp::Otlp::from_env)
        .command(
            "migrate",
            "Brings the database up to date",
            async |chassis| Store::migrate(&chassis).await,
        )
        .run(start)
}

/// Runs inside the tokio runtime. Meanwhile, liveness is 200 and readiness is 503.
async fn start(chassis: Chassis<Settings>) -> anyhow::Result<Router> {
    let settings = chassis.settings();
    let views = if settings.redis.url.is_empty() {
        None
    } else {
        Some(axum_chassis_redis::redis_rotating(&chassis, "redis", |all| &all.redis).await?)
    };
    let store = Store::open(&chassis).await?;
    Ok(routes::router(Orders { store, views }))
}
