//! Policies of single routes: a timeout and a concurrency limit of their own, no access lines.
//!
//! A policy is a layer of its route. The request layer, which sets the timer and writes the access line, is around all
//! routes, so it has to learn of the policy. While the request layer polls the handler, a thread-local slot is open.
//! Each policy that the request passes puts its grant into this slot, and after the poll the request layer takes the
//! grants out again. A request to a route without a policy needs neither an allocation nor a request extension.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use crate::problem::Problem;

/// A layer for a route that needs other limits than those in the settings.
///
/// ```
/// # async fn upload(_: axum::body::Body) {}
/// # async fn report() {}
/// # async fn events() {}
/// use std::time::Duration;
///
/// use axum::Router;
/// use axum::routing::{get, post};
/// use axum_chassis::RoutePolicy;
///
/// let minutes = Duration::from_secs(600);
/// let routes: Router = Router::new()
///     .route("/files", post(upload).layer(RoutePolicy::new().timeout(minutes)))
///     .route("/report", get(report).layer(RoutePolicy::new().timeout(minutes).concurrency(2)))
///     .route("/events", get(events).layer(RoutePolicy::new().no_timeout().unlogged()));
/// ```
///
/// A policy needs a [`RequestLayer`](super::RequestLayer) around it, such as that of a [`Service`](crate::Service). It
/// can also be the layer of a whole router. If a route has two policies, the inner one decides the timeout, and both
/// limits of concurrency apply. `limits.concurrency` applies in addition. The maximum size of a body is set with axum's
/// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit).
#[derive(Clone, Debug, Default)]
#[must_use = "a policy works once it is the layer of a route"]
pub struct RoutePolicy {
    timeout: Option<Duration>,
    slots: Option<Arc<Semaphore>>,
    is_unlogged: bool,
}

// === impl RoutePolicy ===

impl RoutePolicy {
    /// A policy that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces `limits.request_timeout`, the maximum time until the response begins, with a longer or shorter time.
    /// After this time, the response is 504, or 408 if the client has not sent the whole body of its request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Removes the limit on the time until the response begins, for example for long polling. A stream needs this only
    /// if its first byte is late: no timeout applies to the body of a response.
    pub fn no_timeout(self) -> Self {
        self.timeout(Duration::MAX)
    }

    /// Sets the maximum number of concurrent requests. Beyond it, the response is 503 with `Retry-After`. A request
    /// counts until the end of its response. All routes that have this policy or a clone of it share the limit.
    ///
    /// # Panics
    /// If `requests` is more than [`Semaphore::MAX_PERMITS`].
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.slots = Some(Arc::new(Semaphore::new(requests)));
        self
    }

    /// Writes no access lines for the requests. Metrics and traces still include them, and the causes of 5xx responses
    /// are logged.
    pub fn unlogged(mut self) -> Self {
        self.is_unlogged = true;
        self
    }

    /// The grant for one request, and whether the request may proceed.
    fn grant(&self) -> (Grant, bool) {
        let permit = self.slots.clone().map(Semaphore::try_acquire_owned);
        let is_shed = matches!(permit, Some(Err(_)));
        let grant = Grant {
            timeout: self.timeout,
            is_unlogged: self.is_unlogged,
            is_shed,
            permits: permit.into_iter().flatten().collect(),
        };
        (grant, !is_shed)
    }
}

impl<S> Layer<S> for RoutePolicy {
    type Service = RoutePolicyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RoutePolicyService {
            inner,
            policy: self.clone(),
        }
    }
}

/// A route with its [`RoutePolicy`].
#[derive(Clone, Debug)]
pub struct RoutePolicyService<S> {
    inner: S,
    policy: RoutePolicy,
}

impl<S> Service<Request> for RoutePolicyService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RoutePolicyFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (grant, may_go_on) = self.policy.grant();
        RoutePolicyFuture {
            handler: may_go_on.then(|| self.inner.call(request)),
            grant: Some(grant),
        }
    }
}

pin_project! {
    /// The response of a route with a policy.
    pub struct RoutePolicyFuture<F> {
        // None if the route is at its limit.
        #[pin]
        handler: Option<F>,
        // `None` once the request layer has the grant.
        grant: Option<Grant>,
    }
}

impl<F> Future for RoutePolicyFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        *this.grant = this.grant.take().and_then(deliver);
        match this.handler.as_pin_mut() {
            Some(handler) => handler.poll(context),
            None => {
                let busy = "the route is at its limit of concurrent requests";
                let busy = Problem::unavailable(busy).retry_after(Duration::from_secs(1));
                Poll::Ready(Ok(busy.into_response()))
            }
        }
    }
}

/// The combined effect of a route's policies on one request.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) timeout: Option<Duration>,
    pub(super) is_unlogged: bool,
    pub(super) is_shed: bool,
    /// Permits of the concurrency limits, held until the request has ended.
    permits: Vec<OwnedSemaphorePermit>,
}

impl Grant {
    /// Adds the grant of a policy further inside.
    pub(super) fn add(&mut self, inner: Self) {
        self.timeout = inner.timeout.or(self.timeout);
        self.is_unlogged |= inner.is_unlogged;
        self.is_shed |= inner.is_shed;
        self.permits.extend(inner.permits);
    }
}

/// The state of this thread's slot, through which policies pass their grants to the request layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// No request layer is polling a handler.
    Closed,
    /// A request layer is polling a handler.
    Open,
    /// A policy has put a grant into `GRANT`.
    Full,
}

thread_local! {
    // Separate from the grant, because each request accesses the state: access to a thread-local value without a
    // destructor takes only a few instructions.
    static SLOT: Cell<Slot> = const { Cell::new(Slot::Closed) };
    static GRANT: Cell<Option<Box<Grant>>> = const { Cell::new(None) };
}

/// Collects the grants that policies deliver on this thread between `begin` and `end`.
#[must_use]
pub(super) struct Collecting {
    /// The state and the grant of the request layer around this one, if there is one. `end` restores both.
    around: Slot,
    grant: Option<Box<Grant>>,
}

impl Collecting {
    pub(super) fn begin() -> Self {
        let around = SLOT.replace(Slot::Open);
        let grant = match around {
            Slot::Full => GRANT.take(),
            Slot::Open | Slot::Closed => None,
        };
        Self { around, grant }
    }

    pub(super) fn end(self) -> Option<Box<Grant>> {
        let own = match SLOT.replace(self.around) {
            Slot::Full => GRANT.take(),
            Slot::Open | Slot::Closed => None,
        };
        if self.grant.is_some() {
            GRANT.set(self.grant);
        }
        own
    }
}

/// Hands a grant to the request layer. Returns it if there is no request layer.
fn deliver(grant: Grant) -> Option<Grant> {
    if SLOT.get() == Slot::Closed {
        return Some(grant);
    }
    SLOT.set(Slot::Full);
    let all = match GRANT.take() {
        Some(mut outer) => {
            outer.add(grant);
            outer
        }
        None => Box::new(grant),
    };
    GRANT.set(Some(all));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_within_another_collects_only_the_policies_within_itself() {
        let grant = |seconds| {
            let policy = RoutePolicy::new().timeout(Duration::from_secs(seconds));
            deliver(policy.grant().0)
        };
        let timeout = |grant: Option<Box<Grant>>| grant.and_then(|grant| grant.timeout);
        let outer = Collecting::begin();
        assert!(grant(1).is_none());
        let inner = Collecting::begin();
        assert!(grant(2).is_none());
        assert_eq!(timeout(inner.end()), Some(Duration::from_secs(2)));
        assert_eq!(timeout(outer.end()), Some(Duration::from_secs(1)));
        assert!(grant(3).is_some(), "no layer is left");
    }
}
