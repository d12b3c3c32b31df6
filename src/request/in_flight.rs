//! Counts and logs a request in flight, from its head to the end of its response.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum_chassis_server::{Limits, Upload};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use prometheus::IntGauge;

use super::policy::Grant;
use super::{Endpoint, LayerState};
use crate::logs::{AccessFields, FinishedRequest};
use crate::metrics::http::Route;
use crate::observer::{Observed, RequestHead};
use crate::problem::ErrorMap;
use crate::trace::Ids;

/// A request in flight. If it is dropped before `end`, the client has disconnected (499), or the shutdown has aborted
/// the request (503).
pub(super) struct InFlight {
    endpoint: Arc<Endpoint>,
    /// The route, if it differs from the endpoint's usual one.
    route: Option<Arc<Route>>,
    admitted: bool,
    ids: Ids,
    method: Method,
    path: Option<PathAndQuery>,
    client: Option<IpAddr>,
    begun: Instant,
    upload: Option<Upload>,
    /// The combined effect of the route's policies; `None` for a route without policies.
    grant: Option<Box<Grant>>,
    /// The observers of this request; `None` if there are no observers.
    observed: Option<Box<Observed>>,
    sent: u64,
    // Boxed, because this struct is moved a few times and is smaller with one pointer.
    error: Option<Box<Cow<'static, str>>>,
    ended: bool,
}

impl InFlight {
    pub(super) fn begin(
        endpoint: Arc<Endpoint>,
        request: &mut Request,
        client: Option<IpAddr>,
        ids: &mut Ids,
        upload: Option<Upload>,
    ) -> Self {
        let LayerState {
            http,
            limits,
            observers,
            ..
        } = &*endpoint.shared;
        let admitted = limits.admit(http.active_requests.enter());
        if !admitted {
            http.requests_shed.inc();
        }
        let route = endpoint.other_route(request);
        let observed = observers.begin(|| RequestHead {
            route: endpoint.route(route.as_ref()).pattern(),
            request,
            client,
            ids,
        });
        Self {
            route,
            admitted,
            // Observers may have decided about the trace.
            ids: ids.clone(),
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            client,
            begun: Instant::now(),
            upload,
            grant: None,
            observed,
            sent: 0,
            error: None,
            ended: false,
            endpoint,
        }
    }

    pub(super) fn admitted(&self) -> bool {
        self.admitted
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The gauge of response bytes that wait for their clients.
    pub(super) fn waiting(&self) -> &IntGauge {
        &self.endpoint.shared.http.response_waiting
    }

    /// Whether a part of the request's body is still missing.
    pub(super) fn is_arriving(&self) -> bool {
        self.upload
            .as_ref()
            .is_some_and(|upload| !upload.is_complete())
    }

    /// Counts the request's body, as it arrives, against the limit of buffered bytes.
    pub(super) fn hold_body_within(&self, limits: &Limits) {
        if let Some(upload) = &self.upload {
            upload.hold_within(limits);
        }
    }

    /// Whether the body was rejected because of `limits.buffered`.
    pub(super) fn has_no_room(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::is_refused)
    }

    pub(super) fn error_map(&self) -> &ErrorMap {
        &self.endpoint.shared.error_map
    }

    pub(super) fn is_draining(&self) -> bool {
        self.endpoint.shared.is_draining()
    }

    /// The deadline for the handler's response, from the route's policy or from `limits.request_timeout`.
    pub(super) fn deadline(&self) -> Option<tokio::time::Instant> {
        let own = self.grant.as_ref().and_then(|grant| grant.timeout);
        let timeout = match own {
            Some(timeout) => timeout,
            None => self.endpoint.shared.limits.request_timeout()?,
        };
        Some(self.begun.checked_add(timeout)?.into())
    }

    /// Applies the grant of a policy of the route.
    pub(super) fn grant(&mut self, grant: Box<Grant>) {
        if grant.is_shed {
            self.endpoint.shared.http.requests_shed.inc();
        }
        match &mut self.grant {
            Some(outer) => outer.add(*grant),
            None => self.grant = Some(grant),
        }
    }

    /// Records how many bytes of the response's body have been sent.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent = bytes;
    }

    /// Records the error that ended the response's body early.
    pub(super) fn fail(&mut self, error: &axum::Error) {
        self.error = Some(Box::new(crate::error::Chain(error).to_string().into()));
    }

    /// Ends the request: it is counted, observed and logged.
    pub(super) fn end(&mut self, status: StatusCode, sent: u64) {
        self.sent = sent;
        self.settle(status);
    }

    fn settle(&mut self, mut status: StatusCode) {
        self.ended = true;
        // A client that aborted its request's body gets no response, even if the handler has returned one.
        if self.upload.as_ref().is_some_and(Upload::is_broken) {
            status = client_gone();
        }
        let LayerState { http, logs, .. } = &*self.endpoint.shared;
        http.active_requests.leave();
        // Only for requests with a body: an update of a shared counter takes time, and most requests have no body.
        let mut received = 0;
        if let Some(upload) = &self.upload {
            upload.let_go();
            received = upload.received();
            http.request_bytes.inc_by(received);
            if upload.is_refused() {
                http.requests_shed.inc();
            }
        }
        let route = self.endpoint.route(self.route.as_ref());
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        let mut finished = FinishedRequest::new(&self.ids, &self.method, path, status, self.begun);
        finished.route = route.pattern();
        finished.request_bytes = received;
        finished.response_bytes = self.sent;
        finished.client = self.client;
        finished.error = self.error.as_deref().map(AsRef::as_ref);
        route.record(&finished);
        // Taking the grant releases its permits of the route's concurrency limits.
        let is_unlogged = self.grant.take().is_some_and(|grant| grant.is_unlogged);
        let mut observe = |fields: &mut AccessFields<'_>| {
            if let Some(observed) = self.observed.take() {
                observed.end(&finished, fields);
            }
        };
        match is_unlogged {
            true => observe(&mut AccessFields::ignored()),
            false => logs.access(&finished, observe),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let status = if self.endpoint.shared.is_aborted() {
            self.error = Some(Box::new("aborted at the shutdown deadline".into()));
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            client_gone()
        };
        self.settle(status);
    }
}

/// 499, the status that nginx logs if the client disconnects before its response is complete.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
