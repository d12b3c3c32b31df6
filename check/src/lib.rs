//! Proves that manifests, image, alerts and dashboards agree with the binary that they are about.
//!
//! Each overlay is rendered as `kubectl apply -k` would, and held against the binary's own words: what it
//! makes of the settings that the overlay gives it (`--check-config`, `--print-config`), which settings there
//! are (`--config-schema`), what its listeners answer, and what a live scrape shows.
//!
//! - [`Check`]: what to look at; [`Check::run`] returns the [`Fault`]s
//! - `render`: overlays as lists of resources, each knowing its file
//! - `binary`: the binary's words
//! - `promql`: which metrics and labels a query names
//! - `rules`: what must hold, one file a subject
//!
//! ```no_run
//! let faults = chassis_check::Check::new("k8s", "target/release/orders").run()?;
//! for fault in &faults {
//!     eprintln!("{fault}");
//! }
//! # anyhow::Ok(())
//! ```

mod binary;
mod fault;
mod promql;
mod render;
mod rules;

use std::path::{Path, PathBuf};

pub use fault::Fault;

/// What to hold against what.
#[derive(Clone, Debug)]
pub struct Check {
    manifests: PathBuf,
    binary: PathBuf,
    dockerfiles: Vec<PathBuf>,
    secrets: Option<PathBuf>,
    only: Vec<String>,
}

impl Check {
    /// `manifests` holds `base` and `overlays`; the `Dockerfile*` of the folder above it are held against them too.
    pub fn new(manifests: impl Into<PathBuf>, binary: impl Into<PathBuf>) -> Self {
        let manifests = manifests.into();
        let dockerfiles = ["Dockerfile", "Dockerfile.distroless"]
            .map(|name| manifests.join("..").join(name))
            .into_iter()
            .filter(|file| file.is_file())
            .collect();
        Self {
            manifests,
            binary: binary.into(),
            dockerfiles,
            secrets: None,
            only: Vec::new(),
        }
    }

    /// A folder of files that stand in for the Secret at `/var/secrets`, for a service that needs some to start.
    pub fn secrets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.secrets = Some(folder.into());
        self
    }

    /// Looks at this overlay only, such as `overlays/production`; may be called again.
    pub fn only(mut self, overlay: impl Into<String>) -> Self {
        self.only.push(overlay.into());
        self
    }

    /// Every fault, none twice.
    ///
    /// # Errors
    ///
    /// If there is nothing to hold against each other: an overlay does not render, or the binary does not run.
    pub fn run(&self) -> anyhow::Result<Vec<Fault>> {
        let overlays = render::overlays(&self.manifests, &self.only)?;
        let binary = binary::Binary::new(&self.binary, self.secrets.as_deref())?;
        let mut faults = fault::Faults::default();
        rules::apply(self, &overlays, &binary, &mut faults)?;
        Ok(faults.into_vec())
    }

    /// The overlays that [`Check::run`] looks at.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn overlays(&self) -> anyhow::Result<Vec<String>> {
        render::names(&self.manifests, &self.only)
    }

    fn manifests(&self) -> &Path {
        &self.manifests
    }

    fn dockerfiles(&self) -> &[PathBuf] {
        &self.dockerfiles
    }
}
