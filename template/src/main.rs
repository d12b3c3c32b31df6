//! What is started, and in which order.

mod orders;
mod routes;
mod settings;
mod store;

use std::process::ExitCode;

use axum_chassis::Service;

use settings::Settings;
use store::Store;

fn main() -> ExitCode {
    Service::<Settings>::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .build(option_env!("REVISION"), option_env!("CREATED"))
        .run(async |chassis| {
            // Inside the runtime: alive, and not ready before this is done and the checks pass.
            let router = routes::router();
            let store = Store::open(&chassis);
            let router = router.merge(orders::router(&chassis, store)?);
            Ok(router)
        })
}
