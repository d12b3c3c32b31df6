//! Observers of requests: code of the program that runs at the start and at the end of each request.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use axum::extract::Request;
use http::{Extensions, HeaderMap, Method, Uri, Version};

use crate::logs::AccessFields;
use crate::record::FinishedRequest;
use crate::trace::Ids;

/// Code that runs at the start and at the end of each request: for metrics of your own, for fields of the access line, or
/// for another system that counts requests.
///
/// [`Chassis::observe`](crate::Chassis::observe) adds an observer to a service, and
/// [`RequestLayer::observe`](crate::request::RequestLayer::observe) to a `main` of your own.
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
/// Each request begins once and ends once, however it ends: with its response, with a timeout, a panic or load shedding, with
/// a client that disconnects, or at the shutdown deadline. An upgraded connection (WebSocket) ends as a request with its
/// response. Requests to the health routes and to the admin port are not observed, and requests of a
/// [`RoutePolicy::unlogged`](crate::RoutePolicy::unlogged) route are.
///
/// Both functions run between the request and its response, on a worker of the runtime: they must not block. The IDs of the
/// request are [current](crate::trace::current) in them. A panic in one of them is logged and counted as others are, and
/// changes neither the response nor what other observers get; after a panic in `begin`, `end` is not called for that request.
///
/// The observers of a request cost it two allocations together, and one each.
pub trait RequestObserver: Send + Sync + 'static {
    /// Data of one request, from its begin to its end; `()` for an observer that has none.
    type State: Send + 'static;

    /// Called with the head of each request, before its handler.
    fn begin(&self, request: &mut RequestHead<'_>) -> Self::State;

    /// Called at the end of the request's response, with the fields that the access line has so far. Metrics may have labels
    /// with a bounded number of values only, such as a tenant's tier, never the tenant.
    fn end(&self, state: Self::State, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>);
}

/// The head of a request that begins.
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

    /// The extensions, to add something that a handler or a layer of the router extracts. So a layer that authenticates can
    /// hand over the tenant's tier: `examples/observer.rs` in the repository.
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

    /// Decides whether the trace of the request is recorded, in place of the caller: for an exporter with a sampler. The
    /// decision is passed on with [`trace::inject`](crate::trace::inject).
    pub fn set_sampled(&mut self, sampled: bool) {
        self.ids.trace.sampled = sampled;
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the headers, which may contain secrets.
        f.debug_struct("RequestHead")
            .field("method", self.method())
            .field("route", &self.route)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// An observer, without its type.
type Begin = Arc<dyn Fn(&mut RequestHead<'_>) -> End + Send + Sync>;
/// An observer and its state of one request.
type End = Box<dyn FnOnce(&FinishedRequest<'_>, &mut AccessFields<'_>) + Send>;

/// The observers of a layer. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    /// The service's, which all its layers share.
    shared: Arc<OnceLock<RwLock<Arc<[Begin]>>>>,
    /// This layer's own.
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

    /// Without observers, this is one atomic load.
    #[inline]
    pub(crate) fn begin<'a>(
        &self,
        head: impl FnOnce() -> RequestHead<'a>,
    ) -> Option<Box<Observed>> {
        let shared = self.shared.get();
        if shared.is_none() && self.own.is_empty() {
            return None;
        }
        // An observer may add others, so none runs under the lock.
        let shared = shared.map(|all| all.read().unwrap_or_else(PoisonError::into_inner).clone());
        let shared = shared.as_deref().unwrap_or_default();
        Some(Observed::begin([shared, &self.own], head()))
    }
}

/// These observers and one more.
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
            // Entered for each, because the one before may have decided about the trace.
            let ids = head.ids.clone();
            let end = catch_unwind(AssertUnwindSafe(|| ids.enter(|| begin(&mut head))));
            ends.extend(end);
        }
        Box::new(Self(ends))
    }

    /// The request has ended.
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
