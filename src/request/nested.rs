//! Determines the route of `Router::nest_service`, which axum hides from outer layers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::{Extension, Response};
use axum::routing::get;
use http::Extensions;
use tower::Service;

#[derive(Clone)]
struct Path(String);

/// The route of a request that `nest_service` has matched: for `nest_service("/files", …)`, this is `/files/{*rest}`.
///
/// axum stores the prefix `/files` in a private extension of the request. A nested router puts this prefix in front of
/// its own `MatchedPath`. This function therefore calls a router that has only the route `/`: there, the `MatchedPath`
/// is the prefix, followed by a slash.
pub(super) fn route(extensions: &Extensions) -> Option<String> {
    let path = async |path: MatchedPath| Extension(Path(path.as_str().to_owned()));
    let mut router: Router = Router::new().route("/", get(path));
    let mut request = Request::new(Body::empty());
    *request.extensions_mut() = extensions.clone();
    let answer = pin!(router.call(request));
    // The handler awaits nothing, so the first poll is ready.
    let Poll::Ready(answer) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
        return None;
    };
    let answer: Result<Response, Infallible> = answer;
    let Path(path) = answer.ok()?.extensions_mut().remove()?;
    (path != "/").then(|| format!("{path}{{*rest}}"))
}
