//! Detection of the platform, such as a container, on which some defaults depend.

use std::fmt;
use std::io::IsTerminal;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The platform of the process. Defaults that depend on it are `shutdown.delay`, and who may change the log filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlatformKind {
    /// Detected when the settings are read.
    #[default]
    Auto,
    /// A container, in Kubernetes or elsewhere.
    Container,
    /// A terminal, where a person waits for the process to end.
    Terminal,
    /// Neither, such as a service of systemd.
    Host,
}

/// The environment variable that Kubernetes sets in each container.
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";
/// The files that Docker and Podman create in each container.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

impl PlatformKind {
    /// The platform of this process, and the reason.
    pub(crate) fn detect() -> (Self, String) {
        let terminal = std::io::stdin().is_terminal();
        Self::from(is_in_kubernetes(), terminal, mark())
    }

    /// In Docker, a terminal counts more than the container, because a person waits at it. In Kubernetes, a terminal
    /// need not belong to a person.
    fn from(kubernetes: bool, terminal: bool, mark: Option<&str>) -> (Self, String) {
        match (kubernetes, terminal, mark) {
            (true, _, _) => (Self::Container, format!("{KUBERNETES} is set")),
            (_, true, _) => (Self::Terminal, "standard input is a terminal".to_owned()),
            (_, _, Some(mark)) => (Self::Container, format!("{mark} exists")),
            _ => (Self::Host, "no container, no terminal".to_owned()),
        }
    }
}

impl fmt::Display for PlatformKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Container => "container",
            Self::Terminal => "terminal",
            Self::Host => "host",
        })
    }
}

/// Whether this process is in a container, also on a terminal.
pub(crate) fn in_container() -> bool {
    is_in_kubernetes() || mark().is_some()
}

fn is_in_kubernetes() -> bool {
    std::env::var_os(KUBERNETES).is_some()
}

fn mark() -> Option<&'static str> {
    MARKS.into_iter().find(|mark| Path::new(mark).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_comes_before_a_terminal_and_a_terminal_before_docker() {
        let docker = Some("/.dockerenv");
        for (kubernetes, terminal, mark, platform, reason) in [
            (
                true,
                true,
                docker,
                "container",
                "KUBERNETES_SERVICE_HOST is set",
            ),
            (
                false,
                true,
                docker,
                "terminal",
                "standard input is a terminal",
            ),
            (false, false, docker, "container", "/.dockerenv exists"),
            (false, false, None, "host", "no container, no terminal"),
        ] {
            let (detected, why) = PlatformKind::from(kubernetes, terminal, mark);
            assert_eq!(
                (detected.to_string().as_str(), why.as_str()),
                (platform, reason)
            );
        }
    }
}
