//! The routes on the chassis, with its defaults.

use std::process::ExitCode;
use std::time::Duration;

use axum::routing::get;
use axum_chassis::{Service, logs};
use tracing::{info, info_span, warn};

fn main() -> ExitCode {
    if let Some(lines) = routes::lines() {
        return log(lines);
    }
    // Beside the routes of all, one that leaves the admin page something to keep.
    let warning = get(async || {
        warn!(
            attempt = 3,
            "the supplier's stock cannot be read; it is asked again in 5 s"
        )
    });
    let router = routes::router().route("/warning", warning);
    Service::<()>::new("bench", env!("CARGO_PKG_VERSION")).run(async |_| Ok(router))
}

fn log(lines: u64) -> ExitCode {
    let Ok(logs) = logs::install(&logs::Settings::default()) else {
        return ExitCode::FAILURE;
    };
    let _request = info_span!("request", method = "GET", path = "/orders/7").entered();
    for number in 0..lines {
        info!(number, item = "teapot", pieces = 1, "order taken");
    }
    logs.flush(Duration::from_secs(60));
    ExitCode::from(u8::from(logs.dropped() > 0))
}
