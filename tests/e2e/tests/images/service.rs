//! A service on the chassis in each kind of image, as a cluster runs it.

use std::time::{Duration, Instant};

use e2e::wait_for;
use serde_json::Value;

use crate::docker::{Container, Image};

/// A kind of image: its file, and how the C library is linked.
pub(crate) struct Kind {
    pub(crate) dockerfile: &'static str,
    pub(crate) variant: &'static str,
    /// The beginning of its row in docs/images.md.
    row: &'static str,
}

pub(crate) const STATIC: Kind = Kind {
    dockerfile: "Dockerfile.distroless",
    variant: "static",
    row: "| `Dockerfile.distroless` (`VARIANT=static`) |",
};
pub(crate) const CC: Kind = Kind {
    dockerfile: "Dockerfile.distroless",
    variant: "cc",
    row: "| `Dockerfile.distroless`, `VARIANT=cc` |",
};
pub(crate) const SLIM: Kind = Kind {
    dockerfile: "Dockerfile",
    variant: "cc",
    row: "| `Dockerfile` |",
};

impl Kind {
    /// The size of a generated service in docs/images.md.
    fn documented_megabytes(&self) -> f64 {
        let page = include_str!("../../../../docs/images.md");
        let row = page.lines().find(|line| line.starts_with(self.row));
        let row = row.expect(self.row).trim_end_matches(" MB |");
        let size = row.rsplit_once(" | ").map(|(_, size)| size);
        size.and_then(|size| size.parse().ok())
            .expect("a size in MB")
    }

    /// The image's size, relative to the documented one.
    fn relative_size(&self, image: &Image) -> f64 {
        let (size, documented) = (image.megabytes(), self.documented_megabytes());
        println!(
            "{} {}: {size:.2} MB, documented {documented} MB",
            self.dockerfile, self.variant
        );
        size / documented
    }

    pub(crate) fn is_not_exceeded_by(&self, image: &Image) {
        assert!(self.relative_size(image) <= 1.0 + SIZE_TOLERANCE);
    }

    /// For a generated service: docs/images.md has its size.
    pub(crate) fn has_the_documented_size(&self, image: &Image) {
        let difference = (self.relative_size(image) - 1.0).abs();
        assert!(difference <= SIZE_TOLERANCE, "update docs/images.md");
    }
}

/// The tolerance of the sizes in docs/images.md: base images change.
const SIZE_TOLERANCE: f64 = 0.03;

/// From ready to gone, where it has one and a half processors.
pub(crate) fn starts_and_shuts_down(image: &Image) {
    let container = image.start_with(&["--env=LOG_FORMAT=json", "--cpus=1.5"]);
    container.get("/health/readiness");
    container.get("/");
    assert!(
        container.get_from(9090, "/version").contains("1234567"),
        "the binary knows its commit"
    );
    assert!(container.service(&["--health-check"]));
    becomes_healthy(&container);
    let start = Instant::now();
    assert_eq!(container.stop(), 0, "{}", container.logs());
    assert!(start.elapsed() < Duration::from_secs(10));
    let mut sized = None;
    for line in container.logs().lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"));
        assert!(
            event["level"].is_string() && event["message"].is_string(),
            "{line}"
        );
        if line.contains("runtime sized") {
            sized = Some(event);
        }
    }
    let sized = sized.expect("a line about its threads");
    assert_eq!(sized["threads"], 2, "{sized}");
    let reason = sized["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("cgroup"), "{sized}");
}

/// Docker's own health check: first after ten seconds.
fn becomes_healthy(container: &Container) {
    wait_for("health", || {
        (container.inspect("{{.State.Health.Status}}") == "healthy").then_some(())
    });
}
