//! `cargo xtask check`.

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`check` is not written yet")
}
