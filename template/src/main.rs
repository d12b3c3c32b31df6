//! Takes orders and remembers them.

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
            let store = Store::open(&chassis.settings().store);
            let created = chassis
                .metrics()
                .counter("orders_created_total", "Orders taken.")?;

            chassis.readiness().check("store", store.clone());
            let closing = store.clone();
            chassis.on_stop("store", async move || closing.close());

            Ok(routes::router(store, created))
        })
}
