//! The admin port, with health checks, metrics, settings and the log filter. It runs on a thread of its own, so it also
//! answers while the service's runtime is saturated or blocked.
//!
//! | route | response |
//! |---|---|
//! | `/health/liveness` | 200; 503 if the service's runtime has run no task for the time `health.stall` |
//! | `/health/readiness` | 200 or 503, and the last results of the checks as JSON; no dependency is called |
//! | `/health/startup` | 503 until the service's own start is done, then 200 |
//! | `/metrics` | Prometheus text; OpenMetrics and gzip if the request accepts them |
//! | `/config` | the settings in force as JSON, redacted, with their origins |
//! | `/log` | GET returns the log filter; PUT sets another one for an hour, or for the time in `?ttl=10m` |
//! | `/version` | name, version, commit, build time, compiler |
//! | `/status` | the data of the admin page as JSON; only with the feature `admin-page` |
//! | `/` | the admin page, for engineers on call; without the feature `admin-page`, a list of the routes |
//! | others | the service's own routes (`admin/own_routes.rs`) |
//!
//! The rules for access are in `admin/access.rs`.

mod access;
mod log;
mod own_routes;
mod page;
mod thread;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::health::Readiness;
use crate::metrics::{self, InvalidMetric};
use crate::problem::Problem;
use crate::settings::{Effective, Secret, Validate, ValidationErrors};
use crate::shared::Shared;

pub use self::access::Read;
use self::access::{Access, Action};
pub(crate) use self::log::TemporaryFilter;
pub(crate) use self::own_routes::add_routes;
use self::page::PageState;
pub(crate) use self::thread::AdminThread;

/// `[admin]`: the admin listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The token of this listener, at least 16 characters. Requests send it as `Authorization: Bearer` or as the
    /// password of `Basic`. With a token, `/`, `/status`, `/config` and `/log` require it. Without one, every client
    /// may read them, and requests from localhost may change the log filter, except in a container.
    pub token: Option<Secret>,
    /// Read access once a token is set: requests `with-token`, or `everyone`.
    pub read: Read,
    /// Whether `service.platform` is a container.
    #[serde(skip)]
    pub(crate) in_container: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 9090,
            token: None,
            read: Read::default(),
            in_container: false,
        }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        /// 16 hexadecimal digits are 64 bits, which are too many to try all of them.
        const SHORTEST: usize = 16;
        let length = |token: &Secret| token.expose().trim().chars().count();
        if let Some(length) = self.token.as_ref().map(length)
            && length < SHORTEST
        {
            let message = format!(
                "too short: {length} characters, expected at least {SHORTEST}, for example from `openssl rand -hex 32`"
            );
            errors.add("admin.token", message);
        }
    }
}

/// Timeout for a request to arrive on this listener.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest request body in bytes, which is enough for a filter and a token.
const LONGEST_BODY: usize = 1024;
/// The maximum number of expensive responses, such as scrapes, that are created at the same time. Beyond it, the status
/// is 503.
const MOST_WORK: usize = 4;

/// The state that the admin listener shows.
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    access: Access,
    pub(crate) filter: TemporaryFilter,
    effective: RwLock<Effective>,
    page: PageState,
    /// Limits the number of expensive responses to [`MOST_WORK`].
    work: Semaphore,
}

impl Admin {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: &Settings,
        deadline: Duration,
        effective: Effective,
    ) -> Result<Self, InvalidMetric> {
        let Shared { logs, metrics, .. } = &*shared;
        Ok(Self {
            access: Access::new(settings, logs.clone(), metrics)?,
            filter: TemporaryFilter::new(logs.clone(), metrics)?,
            effective: RwLock::new(effective),
            page: PageState::new(deadline),
            work: Semaphore::new(MOST_WORK),
            shared,
        })
    }

    /// Replaces the settings that are shown.
    pub(crate) fn set_effective(&self, effective: Effective) {
        *self
            .effective
            .write()
            .unwrap_or_else(PoisonError::into_inner) = effective;
    }

    /// Sets the reason for the number of worker threads.
    pub(crate) fn set_threads(&self, reason: String) {
        self.page.set_threads(reason);
    }

    /// Creates an expensive response, after cheap responses that are waiting. Because the number of expensive responses
    /// is limited, a health check waits for a few of them at most.
    async fn work(&self, answer: impl FnOnce() -> Response) -> Response {
        let Ok(_permit) = self.work.try_acquire() else {
            let close = [(header::CONNECTION, "close"), (header::RETRY_AFTER, "1")];
            let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail("busy with others");
            return (close, busy).into_response();
        };
        // Requests that have already arrived, such as health checks, are answered first.
        tokio::task::yield_now().await;
        answer()
    }

    fn effective(&self) -> Effective {
        self.effective
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn router(self: Arc<Self>) -> Router {
        routes()
            .fold(Router::new(), |router, (path, route)| {
                router.route(path, route)
            })
            .fallback(own_routes::call)
            .layer(map_response(no_sniffing))
            .with_state(self)
    }
}

/// The chassis's routes.
fn routes() -> impl Iterator<Item = (&'static str, MethodRouter<Arc<Admin>>)> {
    // `/log` is the only route of the chassis that reads a request body.
    let log = guarded(log::show).put(log::change).post(log::change);
    let log = log.layer((from_fn(in_time), DefaultBodyLimit::max(LONGEST_BODY)));
    let routes = [
        ("/health/liveness", get_route(liveness)),
        ("/health/readiness", get_route(readiness)),
        ("/health/startup", get_route(startup)),
        ("/metrics", get(scrape)),
        ("/config", guarded(config)),
        ("/log", log),
        ("/version", get_route(version)),
    ];
    page::routes().into_iter().chain(routes)
}

/// Responds 408 to a request that takes too long to arrive, so that it does not occupy one of the listener's few
/// connections.
async fn in_time(request: Request, next: Next) -> Response {
    let late = "the request did not arrive in time";
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT).detail(late);
    let answer = tokio::time::timeout(DEADLINE, next.run(request)).await;
    answer.map_err(late).into_response()
}

/// Creates the response to a GET. This is a function pointer, because axum compiles much code for each handler type.
type Show = fn(&Admin, &HeaderMap) -> Response;

fn get_route(show: Show) -> MethodRouter<Arc<Admin>> {
    get(async move |State(admin): State<Arc<Admin>>, headers: HeaderMap| show(&admin, &headers))
}

/// A GET route with an expensive response, for requests that [`Access`] allows to read.
fn guarded(show: Show) -> MethodRouter<Arc<Admin>> {
    get(
        async move |State(admin): State<Arc<Admin>>,
                    ConnectInfo(client): ConnectInfo<SocketAddr>,
                    uri: Uri,
                    headers: HeaderMap| {
            match admin.access.check(Action::Read, client, &uri, &headers) {
                Ok(()) => admin.work(|| show(&admin, &headers)).await,
                Err(refusal) => *refusal,
            }
        },
    )
}

/// Adds the header that makes browsers use the content type of a response instead of guessing another one.
async fn no_sniffing(mut answer: Response) -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    answer
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// The health routes of the main listener. They have the same results as those of the admin port, but they run on the
/// service's own runtime.
pub(crate) fn probes(readiness: Readiness) -> Router {
    let verdict: fn(&Readiness) -> Response = |readiness| match readiness.is_ready() {
        true => status(true, json!({ "status": "ready" })),
        false => status(false, json!({ "status": "not ready" })),
    };
    let live: fn(&Readiness) -> Response = |_| status(true, json!({ "status": "live" }));
    Router::new()
        .route("/health/liveness", get(probe(&readiness, live)))
        .route("/health/readiness", get(probe(&readiness, verdict)))
}

/// Responds 400 to requests without a valid `Host`, on both listeners.
pub(crate) fn invalid_host(readiness: &Readiness) -> Router {
    let refusal: fn(&Readiness) -> Response = |_| {
        let detail = "a request of HTTP/1.1 has one Host header, which names a host";
        Problem::bad_request(detail).into_response()
    };
    Router::new().fallback(probe(readiness, refusal))
}

/// A route whose response depends only on the readiness. All these routes share one handler type, for the reason at
/// [`Show`].
fn probe(
    readiness: &Readiness,
    show: fn(&Readiness) -> Response,
) -> impl Handler<((),), ()> + use<> {
    let readiness = readiness.clone();
    async move || show(&readiness)
}

fn status(good: bool, body: serde_json::Value) -> Response {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

fn liveness(admin: &Admin, _: &HeaderMap) -> Response {
    match admin.shared.heartbeat.stalled() {
        None => status(true, json!({ "status": "live" })),
        Some(silent) => status(
            false,
            json!({ "status": "stalled", "stalled_seconds": silent.as_secs_f64() }),
        ),
    }
}

fn readiness(admin: &Admin, _: &HeaderMap) -> Response {
    let report = admin.shared.readiness.report();
    status(report.ready, report.to_json())
}

fn startup(admin: &Admin, _: &HeaderMap) -> Response {
    let started = admin.shared.readiness.is_started();
    status(
        started,
        json!({ "status": if started { "started" } else { "starting" } }),
    )
}

async fn scrape(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    admin.work(|| scraped(&admin, &headers)).await
}

fn scraped(admin: &Admin, headers: &HeaderMap) -> Response {
    let asked = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (kind, text) = admin.shared.metrics.encode(asked(header::ACCEPT));
    let plain = [
        (header::CONTENT_TYPE, kind),
        (header::VARY, "accept, accept-encoding"),
    ];
    if metrics::accepts_gzip(asked(header::ACCEPT_ENCODING)) {
        let packed = metrics::gzip(text.as_bytes());
        return (plain, [(header::CONTENT_ENCODING, "gzip")], packed).into_response();
    }
    (plain, text).into_response()
}

fn config(admin: &Admin, _: &HeaderMap) -> Response {
    Json(admin.effective().to_json()).into_response()
}

fn version(admin: &Admin, _: &HeaderMap) -> Response {
    Json(&admin.shared.build).into_response()
}
