//! `cargo xtask sync`.

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`sync` is not written yet")
}
