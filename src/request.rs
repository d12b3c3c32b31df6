//! The middleware around every route: request ID, limits, outcome, metrics and access log.
//!
//! One tower layer contains all of these, because each of them needs the results of the others: the
//! outcome of a request is decided once, and is then counted, logged and rendered. Add the layer to a
//! router after all routes, so that it sees the matched route.
//!
//! [The list of outcomes and their statuses](https://github.com/axum-chassis/axum-chassis/blob/main/docs/errors.md#problem-details)
//! is in `docs/errors.md`. Every error response of the chassis is a problem (RFC 9457).
//!
//! For a typical request, whose handler answers at its first poll with a small response, the layer creates no timer, no
//! span and no allocation.

mod in_flight;
mod nested;
mod outcome;
mod policy;
mod response_body;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::response::Response;
use axum_chassis_server::{Limits, Upload};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::{Layer, Service};

use self::in_flight::InFlight;
pub use self::policy::{RoutePolicy, RoutePolicyFuture, RoutePolicyService};
use self::response_body::ResponseBody;
use crate::client_ip::{self, Proxies};
use crate::limits;
pub use crate::logs::FinishedRequest;
use crate::logs::Logs;
use crate::metrics::http::{Http, Route, UNMATCHED};
use crate::metrics::{InvalidMetric, Metrics};
use crate::observer::Observers;
pub use crate::observer::{RequestHead, RequestObserver};
use crate::problem::{ErrorMap, Problem};
use crate::shared::Shared;
use crate::shutdown::{Phase, Shutdown};
use crate::trace::{self, Ids};

/// The middleware. Add it to a router with [`axum::Router::layer`], last.
#[derive(Clone)]
pub struct RequestLayer(Arc<LayerState>);

#[derive(Clone)]
struct LayerState {
    proxies: Proxies,
    limits: Limits,
    logs: Logs,
    http: Http,
    shutdown: Option<Shutdown>,
    error_map: ErrorMap,
    observers: Observers,
}

impl fmt::Debug for RequestLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLayer").finish_non_exhaustive()
    }
}

impl RequestLayer {
    /// A layer with these limits, for a program that keeps its own `main`.
    ///
    /// # Errors
    /// If the HTTP metrics are registered in `metrics` already.
    pub fn new(
        limits: &limits::Settings,
        logs: &Logs,
        metrics: &Metrics,
    ) -> Result<Self, InvalidMetric> {
        Ok(Self(Arc::new(LayerState {
            proxies: Proxies::default(),
            limits: Limits::new(limits, None),
            logs: logs.clone(),
            http: metrics.http()?,
            shutdown: None,
            error_map: ErrorMap::default(),
            observers: Observers::default(),
        })))
    }

    /// The layer around the routes of a service.
    pub(crate) fn of(shared: &Shared, proxies: Proxies) -> Self {
        Self(Arc::new(LayerState {
            proxies,
            limits: shared.limits.clone(),
            logs: shared.logs.clone(),
            http: shared.http.clone(),
            shutdown: Some(shared.shutdown.clone()),
            error_map: shared.error_map.clone(),
            observers: shared.observers.clone(),
        }))
    }

    /// Maps errors that handlers return with `?` to responses, as
    /// [`Chassis::on_error`](crate::Chassis::on_error) does. All layers of a [`Server`](crate::Server) share these mappings.
    #[must_use]
    pub fn on_error(
        self,
        classify: impl Fn(&(dyn std::error::Error + 'static)) -> Option<Problem> + Send + Sync + 'static,
    ) -> Self {
        self.0.error_map.add(classify);
        self
    }

    /// Adds an observer of the requests of this layer. It is called after the observers of
    /// [`Chassis::observe`](crate::Chassis::observe), which observe the requests of all layers of a server.
    #[must_use]
    pub fn observe(mut self, observer: impl RequestObserver) -> Self {
        Arc::make_mut(&mut self.0).observers.add_own(observer);
        self
    }

    /// Trusts the forwarding header (`Forwarded` or `X-Forwarded-For`) in requests from these proxies.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: Proxies) -> Self {
        Arc::make_mut(&mut self.0).proxies = proxies;
        self
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let endpoint = Endpoint {
            shared: self.0.clone(),
            route: OnceLock::new(),
            unnamed: OnceLock::new(),
        };
        RequestService {
            inner,
            endpoint: Arc::new(endpoint),
        }
    }
}

/// One endpoint of the router, wrapped in the layer.
#[derive(Clone)]
pub struct RequestService<S> {
    inner: S,
    endpoint: Arc<Endpoint>,
}

impl<S: fmt::Debug> fmt::Debug for RequestService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

struct Endpoint {
    shared: Arc<LayerState>,
    /// The metrics of the endpoint's route, which its first request sets.
    route: OnceLock<Arc<Route>>,
    /// The metrics of requests without a `MatchedPath`: those to a `nest_service` and to the fallback.
    unnamed: OnceLock<Arc<Route>>,
}

impl Endpoint {
    /// The metrics of the request's route, unless they are those in `route`. An endpoint nearly always serves one
    /// route.
    fn other_route(&self, request: &Request) -> Option<Arc<Route>> {
        let http = &self.shared.http;
        let Some(path) = request.extensions().get::<MatchedPath>() else {
            let name = || nested::route(request.extensions());
            let route = || http.route(name().as_deref().unwrap_or(UNMATCHED));
            return Some(self.unnamed.get_or_init(route).clone());
        };
        let known = self.route.get_or_init(|| http.route(path.as_str()));
        (known.pattern() != path.as_str()).then(|| http.route(path.as_str()))
    }

    /// The route of a request for which [`other_route`](Self::other_route) returned `other`.
    fn route<'a>(&'a self, other: Option<&'a Arc<Route>>) -> &'a Route {
        let known = || self.route.get_or_init(|| self.shared.http.route(UNMATCHED));
        other.unwrap_or_else(known)
    }
}

impl<S> Service<Request> for RequestService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let none;
        let mut ids = Ids::from_headers(
            match client_ip::accepts_ids(&self.endpoint.shared.proxies, &request) {
                true => request.headers(),
                false => {
                    none = HeaderMap::new();
                    &none
                }
            },
        );
        let client = client_ip::identify(&self.endpoint.shared.proxies, &mut request);
        let upload = Upload::watch(&mut request);
        let has_body = upload.is_some();
        let in_flight = InFlight::begin(
            self.endpoint.clone(),
            &mut request,
            client,
            &mut ids,
            upload,
        );
        let version = request.version();
        let state = if in_flight.admitted() {
            if has_body {
                let limits = &self.endpoint.shared.limits;
                in_flight.hold_body_within(limits);
                DefaultBodyLimit::max(limits.body()).apply(&mut request);
            }
            // A handler that is not async runs in `call` already.
            match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
                Ok(future) => HandlerState::Running {
                    future: trace::scope(ids, future),
                },
                Err(_) => HandlerState::Answered {
                    response: Some(outcome::panicked(&ids)),
                },
            }
        } else {
            let busy = Problem::unavailable("the service is at its limit of concurrent requests")
                .retry_after(Duration::from_secs(1));
            let response = busy.render(Some(&ids.request));
            HandlerState::Answered {
                // An HTTP/2 connection may get many 503 responses at once, and each body would stay in memory until the
                // client's flow-control window has room for it.
                response: Some(match version < Version::HTTP_2 {
                    true => response,
                    false => outcome::without_body(response),
                }),
            }
        };
        ResponseFuture {
            state,
            timeout: None,
            version,
            in_flight: Some(in_flight),
        }
    }
}

pin_project! {
    #[project = HandlerStateProj]
    enum HandlerState<F> {
        Running { #[pin] future: trace::Scoped<F> },
        Answered { response: Option<Response> },
    }
}

pin_project! {
    /// The response, once the outcome is decided.
    pub struct ResponseFuture<F> {
        #[pin]
        state: HandlerState<F>,
        // Set if the first poll of the handler is pending. Most handlers answer at once and need no timer.
        // Boxed, because this future is moved a few times before it is polled.
        timeout: Option<Pin<Box<Sleep>>>,
        version: Version,
        in_flight: Option<InFlight>,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(in_flight) = this.in_flight.as_mut() else {
            return Poll::Pending; // polled after completion
        };
        let response = match this.state.project() {
            HandlerStateProj::Answered { response } => response.take().unwrap_or_default(),
            HandlerStateProj::Running { future } => {
                let policies = policy::Collecting::begin();
                let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
                if let Some(grant) = policies.end() {
                    in_flight.grant(grant);
                    *this.timeout = None;
                }
                match polled {
                    Ok(Poll::Ready(Ok(response))) => response,
                    Ok(Poll::Pending) => {
                        if this.timeout.is_none() {
                            let timer = |deadline| Box::pin(tokio::time::sleep_until(deadline));
                            *this.timeout = in_flight.deadline().map(timer);
                        }
                        match this
                            .timeout
                            .as_mut()
                            .map(|timer| timer.as_mut().poll(context))
                        {
                            Some(Poll::Ready(())) => outcome::timed_out(in_flight),
                            _ => return Poll::Pending,
                        }
                    }
                    Err(_) => outcome::panicked(in_flight.ids()),
                }
            }
        };
        let mut response = response;
        if in_flight.has_no_room() {
            response = outcome::no_room(in_flight);
        }
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            response = outcome::shape(response, in_flight.ids(), in_flight.error_map());
        }
        // The response to an upgrade has to keep its own `Connection` header.
        let is_over = response.status() != StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(trace::REQUEST_ID, in_flight.ids().request.header());
        if is_over && in_flight.is_draining() && *this.version < Version::HTTP_2 {
            // With this header, the client closes its connection before the listener closes it.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(ResponseBody::watch(
            response,
            this.in_flight,
            *this.version,
        )))
    }
}

impl LayerState {
    fn is_draining(&self) -> bool {
        self.shutdown
            .as_ref()
            .is_some_and(|shutdown| shutdown.phase() >= Phase::Draining)
    }

    fn is_aborted(&self) -> bool {
        self.shutdown
            .as_ref()
            .is_some_and(|shutdown| shutdown.phase() == Phase::Abort)
    }
}
