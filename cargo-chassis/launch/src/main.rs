//! `cargo chassis` in a checkout: builds the tool and runs it.
//!
//! It has no dependencies and compiles on any Rust that can read this workspace. So it can report in one line that the
//! compiler is too old for the tool. Cargo itself would list every package that needs a newer one.

#[path = "../../src/rust.rs"]
mod rust;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let needed = rust::version_in(include_str!("../../Cargo.toml"));
    if let Some(old) =
        needed.and_then(|needed| rust::too_old("cargo chassis", needed, Path::new(".")))
    {
        eprintln!("error: {old}");
        return ExitCode::from(2);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tool = Command::new(cargo);
    tool.args(["run", "--package", "cargo-chassis"]);
    // A new service does not wait for `check`, which takes nearly as long to compile as the rest of the tool.
    if env::args().nth(1).is_some_and(|command| command == "new") {
        tool.arg("--no-default-features");
    }
    tool.arg("--");
    // The tool replaces this process, so that only the tool receives Ctrl-C.
    let error = tool.args(env::args_os().skip(1)).exec();
    eprintln!("error: cannot start cargo: {error}");
    ExitCode::from(2)
}
