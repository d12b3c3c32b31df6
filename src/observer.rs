//! Observers of requests: code of the program that runs at the start and at the end of each request.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use axum::extract::Request;
use http::{Extensions, HeaderMap, Method, Uri, Version};

use crate::logs::{AccessFields, FinishedRequest};
use crate::trace::Ids;

/// Code that runs at the start and at the end of each request. Use it for metrics of your own, for fields of the access
/// line, or to report requests to another system.
///
/// [`Chassis::observe`](crate::Chassis::observe) adds an observer to a service. In a program with its own `main`,
/// [`RequestLayer::observe`](crate::request::RequestLayer::observe) adds one to a layer.
///
/// ```
/// use axum_chassis::logs::AccessFields;
/// use axum_chassis::metrics::{Counter, Family};
/// use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
///
/// /// Counts requests by the kind of their client, and logs the kind.
/// struct Clients(Family<Counter, 2>);
///
/// impl RequestObserver for Clients {
///     type State = &'static str;
///
///     fn begin(&self, request: &mut RequestHead<'_>) -> &'static str {
///         match request.headers().contains_key("x-partner") {
///             true => "partner",
///             false => "public",
///         }
///     }
///
///     fn end(&self, kind: &'static str, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
///         self.0.with([kind, request.status.as_str()]).inc();
///         fields.text("client_kind", kind);
///     }
/// }
///
/// # fn start(chassis: &axum_chassis::Chassis<()>) -> anyhow::Result<()> {
/// let help = "Requests by the kind of their client.";
/// let requests = chassis.metrics().counter_with("client_requests_total", help, ["kind", "status"])?;
/// chassis.observe(Clients(requests));
/// # Ok(()) }
/// ```
///
/// `begin` and `end` are each called once per request. This is so however the request ends: with its response, a
/// timeout, a panic, load shedding, a disconnected client, or at the shutdown deadline. The request of an upgraded
/// connection (WebSocket) ends with the response to the upgrade. Requests to a
/// [`RoutePolicy::unlogged`](crate::RoutePolicy::unlogged) route are observed. Requests to the health routes and to the
/// admin port are not.
///
/// Both functions run on a worker thread of the runtime, where they must not block. While they run, the IDs of the
/// request are [current](crate::trace::current). A panic in one of them is logged and counted like any other panic. It
/// changes neither the response nor the calls of other observers, but after a panic in `begin`, `end` is not called for
/// that request.
///
/// For each request, the layer makes two allocations for all observers together, and one more for each observer.
pub trait RequestObserver: Send + Sync + 'static {
    /// The data that `begin` passes to `end` of the same request, or `()`.
    type State: Send + 'static;

    /// Called with the head of each request, before its handler.
    fn begin(&self, request: &mut RequestHead<'_>) -> Self::State;

    /// Called at the end of the request's response. `fields` adds fields to the access line. As labels of metrics, use
    /// only data with a bounded number of values, such as a tenant's tier, but never the tenant.
    fn end(&self, state: Self::State, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>);
}

/// The head of a request, before the handler is called.
pub struct RequestHead<'a> {
    pub(crate) request: &'a mut Request,
    pub(crate) route: &'a str,
    pub(crate) client: Option<IpAddr>,
    pub(crate) ids: &'a mut Ids,
}

// === impl RequestHead ===

impl RequestHead<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// The URI with its query.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// The HTTP version.
    pub fn version(&self) -> Version {
        self.request.version()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The request's extensions. The observer can add a value here that a handler or a layer of the router extracts.
    /// For example, a layer that authenticates can then pass the tenant's tier back to the observer: see
    /// `examples/observer.rs` in the repository.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.request.extensions_mut()
    }

    /// The pattern of the route, or `unmatched`.
    pub fn route(&self) -> &str {
        self.route
    }

    /// The client's address, if it is known.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The IDs of the request and of its trace.
    pub fn ids(&self) -> &Ids {
        self.ids
    }

    /// Decides whether the trace of the request is recorded, and overrides the decision of the caller. This is for an
    /// exporter with a sampler. [`trace::inject`](crate::trace::inject) passes the decision on to other services.
    pub fn set_sampled(&mut self, sampled: bool) {
        self.ids.trace.set_sampled(sampled);
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers are left out, because they may contain secrets.
        f.debug_struct("RequestHead")
            .field("method", self.method())
            .field("route", &self.route)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Calls the `begin` of an observer whose type is erased.
type Begin = Arc<dyn Fn(&mut RequestHead<'_>) -> End + Send + Sync>;
/// Calls the `end` of an observer with its state of one request.
type End = Box<dyn FnOnce(&FinishedRequest<'_>, &mut AccessFields<'_>) + Send>;

/// The observers of a layer. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    /// The observers of the service, which all its layers share.
    shared: Arc<OnceLock<RwLock<Arc<[Begin]>>>>,
    /// The observers of this layer only.
    own: Arc<[Begin]>,
}

/// The observers of one request.
pub(crate) struct Observed(Vec<End>);

// === impl Observers ===

impl Observers {
    /// Adds an observer to all clones. Requests that begin from now on are observed.
    pub(crate) fn add(&self, observer: impl RequestObserver) {
        let all = self.shared.get_or_init(RwLock::default);
        let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
        *all = with(&all, observer);
    }

    /// Adds an observer to this layer alone.
    pub(crate) fn add_own(&mut self, observer: impl RequestObserver) {
        self.own = with(&self.own, observer);
    }

    /// Calls `begin` of all observers. Without observers, this takes one atomic load.
    #[inline]
    pub(crate) fn begin<'a>(
        &self,
        head: impl FnOnce() -> RequestHead<'a>,
    ) -> Option<Box<Observed>> {
        let shared = self.shared.get();
        if shared.is_none() && self.own.is_empty() {
            return None;
        }
        // The lock is released before the calls, because an observer may add other observers.
        let shared = shared.map(|all| all.read().unwrap_or_else(PoisonError::into_inner).clone());
        let shared = shared.as_deref().unwrap_or_default();
        Some(Observed::begin([shared, &self.own], head()))
    }
}

/// Returns `all` and one more observer.
fn with(all: &[Begin], observer: impl RequestObserver) -> Arc<[Begin]> {
    let observer = Arc::new(observer);
    let begin = move |request: &mut RequestHead<'_>| -> End {
        let state = observer.begin(request);
        let observer = observer.clone();
        Box::new(move |request, fields| observer.end(state, request, fields))
    };
    let begin: Begin = Arc::new(begin);
    all.iter().cloned().chain([begin]).collect()
}

// === impl Observed ===

impl Observed {
    #[inline(never)]
    fn begin(all: [&[Begin]; 2], mut head: RequestHead<'_>) -> Box<Self> {
        let count = all.iter().map(|some| some.len()).sum();
        let mut ends = Vec::with_capacity(count);
        for begin in all.into_iter().flatten() {
            // The IDs are entered again for each observer, because the previous one may have changed the sampling
            // decision.
            let ids = head.ids.clone();
            let end = catch_unwind(AssertUnwindSafe(|| ids.enter(|| begin(&mut head))));
            ends.extend(end);
        }
        Box::new(Self(ends))
    }

    /// Calls `end` of all observers.
    #[inline(never)]
    pub(crate) fn end(mut self, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
        request.ids.enter(|| {
            for end in self.0.drain(..) {
                // The panic hook has logged and counted it.
                let _ = catch_unwind(AssertUnwindSafe(|| end(request, fields)));
            }
        });
    }
}
