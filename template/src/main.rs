//! Starts the service.

#[cfg(feature = "auth")]
mod caller;
#[cfg(feature = "database")]
#[cfg_attr(feature = "postgres", path = "database.postgres.rs")]
#[cfg_attr(not(feature = "postgres"), path = "database.sqlite.rs")]
mod database;
#[cfg(feature = "openapi")]
mod openapi;
#[cfg(feature = "example")]
mod orders;
mod routes;
#[cfg_attr(
    not(any(
        feature = "example",
        feature = "database",
        feature = "redis",
        feature = "auth"
    )),
    path = "settings.empty.rs"
)]
mod settings;
#[cfg(feature = "example")]
#[cfg_attr(feature = "database", path = "store.sqlx.rs")]
mod store;
#[cfg(all(feature = "example", feature = "redis"))]
mod views;

use std::process::ExitCode;

use axum_chassis::Service;

use settings::Settings;
#[cfg(feature = "example")]
use store::Store;

fn main() -> ExitCode {
    let service = Service::<Settings>::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    #[cfg(feature = "otlp")]
    let service = service.export(axum_chassis_otlp::Otlp::from_env);
    #[cfg(feature = "database")]
    let service = service.command(
        "migrate",
        "Brings the database up to date",
        database::migrate,
    );
    service
        .revision(option_env!("REVISION"))
        .built_at(option_env!("CREATED"))
        .run(async |chassis| {
            // Inside the tokio runtime: liveness is 200, and readiness is 503 until this is done and the checks pass.
            let router = routes::router();
            #[cfg(not(any(
                feature = "example",
                feature = "database",
                feature = "redis",
                feature = "auth"
            )))]
            let _ = chassis; // The settings, metrics and readiness checks.
            #[cfg(all(feature = "example", feature = "database"))]
            let database = database::open(&chassis).await?;
            #[cfg(all(not(feature = "example"), feature = "database"))]
            let _database = database::open(&chassis).await?;
            #[cfg(all(feature = "example", feature = "redis"))]
            let redis =
                axum_chassis_redis::redis_rotating(&chassis, "redis", |all| &all.redis).await?;
            #[cfg(all(not(feature = "example"), feature = "redis"))]
            let _redis =
                axum_chassis_redis::redis_rotating(&chassis, "redis", |all| &all.redis).await?;
            #[cfg(feature = "auth")]
            let auth = axum_chassis_auth::auth(&chassis, "auth", &chassis.settings().auth).await?;
            #[cfg(all(feature = "example", not(feature = "database")))]
            let store = Store::open(&chassis, &chassis.settings().store);
            #[cfg(all(feature = "example", feature = "database"))]
            let store = Store::new(database);
            #[cfg(all(feature = "example", feature = "redis"))]
            let router = router.merge(views::router(store.clone(), redis));
            #[cfg(feature = "example")]
            let router = router.merge(orders::router(&chassis, store)?);
            #[cfg(feature = "auth")]
            let router = router.merge(caller::router());
            #[cfg(all(feature = "auth", not(feature = "openapi")))]
            // All routes above need a token. Merge public routes below.
            let router = router.route_layer(auth.layer());
            #[cfg(all(feature = "auth", feature = "openapi"))]
            // All routes above need a token. Merge public routes below.
            let router = auth.layer().protect(router);
            #[cfg(feature = "openapi")]
            let router = openapi::described(router);
            Ok(router)
        })
}
