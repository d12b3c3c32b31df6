//! The admin page, which engineers open first during an incident. The server renders it from the data of `/status`, so
//! it works without JavaScript. `page.js` updates it in place. A content security policy forbids resources from other
//! hosts.

mod draw;
mod html;
mod resources;
mod samples;
mod status;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use axum::routing::MethodRouter;
use http::{HeaderMap, HeaderValue, header};

use self::samples::{Samples, Snapshot};
use self::status::Status;
use crate::admin::{Admin, get_route, guarded};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The data that only the page shows.
pub(crate) struct PageState {
    /// The deadline of a shutdown.
    deadline: Duration,
    /// The reason for the number of worker threads.
    threads: OnceLock<String>,
    samples: Mutex<Samples>,
    started: Instant,
}

impl PageState {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            threads: OnceLock::new(),
            samples: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Sets the reason for the number of worker threads.
    pub(crate) fn set_threads(&self, reason: String) {
        let _ = self.threads.set(reason);
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples of the metrics for as long as the admin thread lives.
    pub(crate) async fn sample(admin: Arc<Admin>) {
        loop {
            let snapshot = Snapshot::of(&admin.shared.metrics);
            admin.page.samples().take(&snapshot);
            tokio::time::sleep(samples::INTERVAL).await;
        }
    }
}

pub(crate) fn routes() -> [(&'static str, MethodRouter<Arc<Admin>>); 4] {
    [
        ("/", guarded(show)),
        ("/status", guarded(status::show)),
        ("/page.css", get_route(style)),
        ("/page.js", get_route(script)),
    ]
}

fn show(admin: &Admin, _: &HeaderMap) -> Response {
    let page = draw::page(&Status::of(admin));
    answer("text/html; charset=utf-8", page.into())
}

fn style(_: &Admin, _: &HeaderMap) -> Response {
    let style = include_str!("enabled/page.css");
    answer("text/css; charset=utf-8", style.into())
}

fn script(_: &Admin, _: &HeaderMap) -> Response {
    let script = include_str!("enabled/page.js");
    answer("text/javascript; charset=utf-8", script.into())
}

fn answer(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Responses are not stored: the data changes, and another version of the service may have another page.
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
