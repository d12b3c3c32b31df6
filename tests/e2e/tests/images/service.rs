//! A service on the chassis in each kind of image, as a cluster runs it.

use std::time::{Duration, Instant};

use e2e::wait_for;
use serde_json::Value;

use crate::docker::{Container, Image};

/// A kind of image: its file, how the C library is linked, and how large it may be.
pub(crate) struct Kind {
    pub(crate) dockerfile: &'static str,
    pub(crate) variant: &'static str,
    megabytes: f64,
}

pub(crate) const STATIC: Kind = Kind {
    dockerfile: "Dockerfile.distroless",
    variant: "static",
    megabytes: 7.0,
};
pub(crate) const CC: Kind = Kind {
    dockerfile: "Dockerfile.distroless",
    variant: "cc",
    megabytes: 31.4,
};
pub(crate) const SLIM: Kind = Kind {
    dockerfile: "Dockerfile",
    variant: "cc",
    megabytes: 84.0,
};

impl Kind {
    pub(crate) fn is_not_exceeded_by(&self, image: &Image) {
        let size = image.megabytes();
        println!("{} {}: {size:.2} MB", self.dockerfile, self.variant);
        assert!(size <= self.megabytes, "{size:.2} MB");
    }
}

/// From ready to gone, where it has one and a half processors.
pub(crate) fn lives_and_leaves(image: &Image) {
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
