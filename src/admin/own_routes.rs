//! A service's own routes on the admin listener.
//!
//! They run on the service's runtime, so that a handler that blocks does not delay health checks. The chassis's routes
//! take precedence.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::ensure;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{Extension, IntoResponse, Response};
use http::{StatusCode, Uri};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tower::Service;

use super::access::Action;
use super::{Admin, DEADLINE, LONGEST_BODY, routes};
use crate::boxed::boxed;
use crate::problem::Problem;
use crate::shared::Shared;

/// Adds the routes. Their handlers run on `service`.
///
/// # Errors
/// If a route has a path of the chassis, or there are routes already.
pub(crate) fn add_routes(shared: &Shared, router: Router, service: Handle) -> anyhow::Result<()> {
    for (path, _) in routes() {
        let is_free = matched(&router, path).as_deref() != Some(path);
        ensure!(
            is_free,
            "admin route `{path}` is the chassis's, expected another path, such as `/orders{path}`"
        );
    }
    let is_first = shared.admin_routes.set((router, service)).is_ok();
    ensure!(
        is_first,
        "admin routes are added already, expected one router for all of them (`Router::merge`)"
    );
    Ok(())
}

#[derive(Clone)]
struct Matched(String);

/// The pattern of the route that a router has for a path. No handler is called.
fn matched(router: &Router, path: &'static str) -> Option<String> {
    let pattern = async |path: Option<MatchedPath>, _: Request, _: Next| {
        let path = path.map(|path| Matched(path.as_str().to_owned()));
        (path.map(Extension), ()).into_response()
    };
    let mut router = router.clone().layer(from_fn(pattern));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(path);
    let answer = pin!(router.call(request));
    // Nothing is awaited in this middleware, so the first poll is ready.
    let Poll::Ready(Ok(mut answer)) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
        return None;
    };
    answer.extensions_mut().remove().map(|Matched(path)| path)
}

/// Handles requests to the service's own routes.
pub(super) async fn call(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    let Some((router, service)) = admin.shared.admin_routes.get() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let action = match request.method().is_safe() {
        true => Action::Read,
        false => Action::Write,
    };
    let (uri, headers) = (request.uri(), request.headers());
    if let Err(refusal) = admin.access.check(action, client, uri, headers) {
        return *refusal;
    }
    DefaultBodyLimit::max(LONGEST_BODY).apply(&mut request);
    // Dropping the set aborts the handler, which happens if the client disconnects.
    let mut handler = JoinSet::new();
    handler.spawn_on(boxed(router.clone().call(request)), service);
    match tokio::time::timeout(DEADLINE, handler.join_next()).await {
        Ok(Some(Ok(Ok(answer)))) => answer,
        Ok(Some(Err(error))) if error.is_panic() => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Ok(_) => Problem::unavailable("the service has stopped").into_response(),
        Err(_) => {
            let detail = format!("no response within {DEADLINE:?}, the limit of admin requests");
            let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT);
            problem.detail(detail).into_response()
        }
    }
}
