//! One run of all rules.

use std::path::PathBuf;

use crate::binary::Binary;
use crate::fault::{Fault, Faults};
use crate::render;
use crate::rules;
use crate::sources::Sources;

/// The files and the binary to compare.
#[derive(Clone, Debug)]
pub struct Check {
    sources: Sources,
    binary: PathBuf,
    secrets: Option<PathBuf>,
    only: Vec<String>,
}

impl Check {
    /// `manifests` is the folder with `base` and `overlays`. `Dockerfile` and `Dockerfile.distroless` next to this
    /// folder are compared too.
    pub fn new(manifests: impl Into<PathBuf>, binary: impl Into<PathBuf>) -> Self {
        Self {
            sources: Sources::new(manifests.into()),
            binary: binary.into(),
            secrets: None,
            only: Vec::new(),
        }
    }

    /// A folder whose files replace the Secret at `/var/secrets`, for a service that needs secrets to start.
    pub fn secrets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.secrets = Some(folder.into());
        self
    }

    /// Checks this overlay only, such as `overlays/production`; can be called again for more.
    pub fn only(mut self, overlay: impl Into<String>) -> Self {
        self.only.push(overlay.into());
        self
    }

    /// Runs all rules. Returns each fault once, and a warning for each part that cannot be checked.
    ///
    /// # Errors
    ///
    /// If there is nothing to compare: an overlay does not render, or the binary does not run.
    pub fn run(&self) -> anyhow::Result<Vec<Fault>> {
        let overlays = render::overlays(&self.sources.manifests, &self.only)?;
        let binary = Binary::new(&self.binary, self.secrets.as_deref())?;
        let mut faults = Faults::default();
        if let Some(reason) = binary.foreign_binary() {
            faults.warn(
                self.binary.display().to_string(),
                "--config-schema",
                format!("does not use axum-chassis ({reason}): its settings, routes and metrics are not checked"),
                "compare them with the manifests by hand",
            );
        }
        rules::apply(&self.sources, &overlays, &binary, &mut faults)?;
        Ok(faults.into_vec())
    }

    /// The overlays that [`Check::run`] checks.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn overlays(&self) -> anyhow::Result<Vec<String>> {
        render::names(&self.sources.manifests, &self.only)
    }
}
