//! The binary `cargo chassis`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_chassis::cli::run()
}
