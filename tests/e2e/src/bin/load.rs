//! Requests URL, RATE times a second, until SIGTERM, and prints the failures.
//!
//! usage: load URL RATE

use std::num::NonZeroU32;
use std::process::ExitCode;

use e2e::Load;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(Ok(rate)), None) = (
        arguments.next(),
        arguments.next().map(|rate| rate.parse::<NonZeroU32>()),
        arguments.next(),
    ) else {
        eprintln!("usage: load URL RATE");
        return ExitCode::from(64);
    };
    let told = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let load = Load::start(&url, rate);
    told.block_on(async {
        let mut signal = signal(SignalKind::terminate()).expect("signals");
        signal.recv().await;
    });
    let counts = load.end();
    println!("{counts}");
    if counts.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
