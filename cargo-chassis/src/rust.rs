//! Checks the version of the Rust compiler. It has no dependencies, because `launch` compiles it on old compilers.

use std::env;
use std::path::Path;
use std::process::Command;

/// The `rust-version` of a manifest.
pub(crate) fn version_in(manifest: &str) -> Option<&str> {
    let value = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))?;
    value.split('"').next()
}

/// The error message if the `rustc` that `folder` selects is older than `what` needs.
///
/// `None` also if the compiler cannot be run or its output cannot be parsed: cargo reports that itself.
pub(crate) fn too_old(what: &str, needed: &str, folder: &Path) -> Option<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(rustc)
        .current_dir(folder)
        .arg("--version")
        .output()
        .ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let here = answer.split_whitespace().nth(1)?;
    (numbers(here)? < numbers(needed)?).then(|| {
        format!(
            "{what} needs Rust {needed} or newer, and rustc here is {here}: update it with `rustup update stable`, \
             or install a newer one from https://rustup.rs"
        )
    })
}

/// Parses `1.98.1-nightly` as (1, 98). The patch number is left out, because patch releases compile the same code.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.94"));
        assert_eq!(numbers("1.98.1-nightly"), Some((1, 98)));
        assert_eq!(numbers("unknown"), None);
    }

    #[test]
    fn the_tools_own_manifest_names_a_version() {
        assert!(version_in(include_str!("../Cargo.toml")).is_some());
    }
}
