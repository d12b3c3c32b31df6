//! The files that are compared with the binary.

use std::path::PathBuf;

/// The manifests and Dockerfiles of a service.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The folder with `base` and `overlays`.
    pub(crate) manifests: PathBuf,
    pub(crate) dockerfiles: Vec<PathBuf>,
}

impl Sources {
    /// The manifests, and the Dockerfiles in the folder above them.
    pub(crate) fn new(manifests: PathBuf) -> Self {
        let dockerfiles = ["Dockerfile", "Dockerfile.distroless"]
            .map(|name| manifests.join("..").join(name))
            .into_iter()
            .filter(|file| file.is_file())
            .collect();
        Self {
            manifests,
            dockerfiles,
        }
    }
}
