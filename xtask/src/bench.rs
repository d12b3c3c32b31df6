//! `cargo xtask bench`.

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`bench` is not written yet")
}
