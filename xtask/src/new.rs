//! `cargo xtask new`.

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`new` is not written yet")
}
