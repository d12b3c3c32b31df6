//! [`Shared`]: the parts of a service as one value.

use std::sync::{Mutex, OnceLock};

use axum::Router;
use axum_chassis_server::Limits;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::background::BackgroundTasks;
use crate::health::{Heartbeat, Readiness};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::metrics::http::Http;
use crate::observer::Observers;
use crate::problem::ErrorMap;
use crate::shutdown::{Hooks, Shutdown, StopRequest};

/// The parts that the listeners, the service's own code and the shutdown share.
pub(crate) struct Shared {
    pub(crate) build: Build,
    pub(crate) logs: Logs,
    pub(crate) metrics: Metrics,
    pub(crate) http: Http,
    pub(crate) readiness: Readiness,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) limits: Limits,
    pub(crate) error_map: ErrorMap,
    pub(crate) observers: Observers,
    pub(crate) tasks: BackgroundTasks,
    pub(crate) hooks: Mutex<Hooks>,
    pub(crate) shutdown: Shutdown,
    pub(crate) stop: StopRequest,
    /// The service's own routes on the admin listener, and the runtime of their handlers.
    pub(crate) admin_routes: OnceLock<(Router, Handle)>,
}

/// Name, version and origin of the build, for `/version` and `build_info`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Build {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) revision: &'static str,
    pub(crate) created: &'static str,
    pub(crate) rustc: &'static str,
}

/// The value of the commit and the build time if the build does not set them.
pub(crate) const UNKNOWN: &str = "unknown";

impl Build {
    /// A build with an unknown commit and an unknown build time.
    pub(crate) fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            revision: UNKNOWN,
            created: UNKNOWN,
            rustc: env!("CHASSIS_RUSTC"),
        }
    }
}
