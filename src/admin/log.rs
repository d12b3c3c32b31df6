//! `/log`: returns the log filter. A PUT, or the form on the admin page, changes the filter for a limited time.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Level;

use super::{Action, Admin};
use crate::boxed::boxed;
use crate::logs::{InvalidFilter, Logs};
use crate::metrics::{Counter, Family, InvalidMetric, Metrics};
use crate::problem::Problem;
use crate::settings::Duration;
use crate::trace::{self, RequestId};

/// The default duration of a change.
const USUAL: StdDuration = StdDuration::from_secs(60 * 60);
/// The maximum duration of a change.
const LONGEST: StdDuration = StdDuration::from_secs(24 * 60 * 60);

/// The log filter in force, and the settings' filter, which applies again when a temporary change ends. Clones share their
/// state.
#[derive(Clone)]
pub(crate) struct TemporaryFilter {
    logs: Logs,
    changes: Family<Counter, 1>,
    state: Arc<Mutex<Changed>>,
}

struct Changed {
    /// The filter of the settings.
    base: String,
    /// The end of a temporary filter, if there is one.
    until: Option<Instant>,
    /// The number of changes so far. A revert that belongs to an earlier change does nothing.
    number: u64,
}

impl TemporaryFilter {
    pub(super) fn new(logs: Logs, metrics: &Metrics) -> Result<Self, InvalidMetric> {
        let changes = metrics.counter_with(
            "log_filter_changes_total",
            "Changes of the log filter through the admin listener, by result: changed, invalid (rejected), or reverted at its end.",
            ["result"],
        )?;
        for result in ["changed", "reverted", "invalid"] {
            changes.with([result]);
        }
        let changed = Changed {
            base: logs.filter(),
            until: None,
            number: 0,
        };
        Ok(Self {
            logs,
            changes,
            state: Arc::new(Mutex::new(changed)),
        })
    }

    /// Applies a new filter of the settings: immediately, or when a temporary change ends.
    pub(crate) fn set_base(&self, filter: &str) -> Result<(), InvalidFilter> {
        let mut state = self.state();
        if state.until.is_none() {
            self.logs.set_filter(filter)?;
        }
        filter.clone_into(&mut state.base);
        Ok(())
    }

    /// Applies a filter for a limited time. The log lines about the change are written regardless of both filters.
    fn change(
        &self,
        filter: &str,
        ttl: StdDuration,
        client: IpAddr,
        id: &RequestId,
    ) -> Result<(), InvalidFilter> {
        let filter = filter.trim();
        let mut state = self.state();
        let before = self.logs.filter();
        let set = self.logs.set_filter(filter);
        let result = if set.is_ok() { "changed" } else { "invalid" };
        self.changes.with([result]).inc();
        set?;
        state.number += 1;
        state.until = Some(Instant::now() + ttl);
        self.logs.always(
            Level::WARN,
            module_path!(),
            "log filter changed",
            &[
                ("filter", &self.logs.filter()),
                ("before", &before),
                ("ttl", &Duration::from(ttl)),
                ("client", &client),
                ("request_id", &id.as_str()),
            ],
        );
        let (this, number) = (self.clone(), state.number);
        tokio::spawn(boxed(async move {
            tokio::time::sleep(ttl).await;
            this.revert(number);
        }));
        Ok(())
    }

    fn revert(&self, number: u64) {
        let mut state = self.state();
        if state.number != number {
            return;
        }
        state.until = None;
        let before = self.logs.filter();
        // It was valid when it became the base.
        let _ = self.logs.set_filter(&state.base);
        self.changes.with(["reverted"]).inc();
        self.logs.always(
            Level::WARN,
            module_path!(),
            "log filter reverted",
            &[("filter", &state.base), ("before", &before)],
        );
    }

    pub(super) fn to_json(&self) -> Value {
        let state = self.state();
        let left = state
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        json!({
            "filter": self.logs.filter(),
            "settings": state.base,
            "reverts_in_seconds": left.map(|left| left.as_secs()),
        })
    }

    fn state(&self) -> MutexGuard<'_, Changed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    Json(admin.filter.to_json()).into_response()
}

/// Handles a PUT, and the POST of the page's form, which makes the same change and redirects to the page.
pub(super) async fn change(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // Check the access before the body is read.
    let access = admin
        .access
        .check(Action::Write, client, &head.uri, &head.headers);
    if let Err(refusal) = access {
        return *refusal;
    }
    let id = head.headers.get(trace::REQUEST_ID);
    let id = id.and_then(RequestId::from_header);
    let id = id.unwrap_or_else(RequestId::random);
    let is_form = head.method == Method::POST;
    let changed = async {
        let body = Bytes::from_request(Request::new(body), &())
            .await
            .map_err(|refused| Problem::new(refused.status()).detail(refused.body_text()))?;
        let (filter, ttl) = if is_form {
            let (filter, ttl) =
                form(&body).ok_or_else(|| Problem::bad_request("a form has `filter` and `ttl`"))?;
            (filter, Some(ttl))
        } else {
            let ttl = field(head.uri.query().unwrap_or_default(), "ttl");
            let filter = String::from_utf8(body.into())
                .map_err(|_| Problem::bad_request("a filter is text"))?;
            (filter, ttl)
        };
        let ttl = lasting(ttl.as_deref())?;
        let client = client.ip().to_canonical();
        admin
            .filter
            .change(&filter, ttl, client, &id)
            .map_err(|error| Problem::bad_request(error.to_string()))
    };
    let mut response = match changed.await {
        Ok(()) if is_form => {
            let page = HeaderValue::from_static("./#log");
            (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response()
        }
        Ok(()) => Json(admin.filter.to_json()).into_response(),
        Err(problem) => problem.render(Some(&id)),
    };
    response
        .headers_mut()
        .insert(trace::REQUEST_ID, id.header());
    response
}

/// The requested duration of a change.
fn lasting(ttl: Option<&str>) -> Result<StdDuration, Problem> {
    let Some(text) = ttl else {
        return Ok(USUAL);
    };
    match text.parse::<Duration>() {
        Ok(ttl) if !ttl.is_zero() && *ttl <= LONGEST => Ok(*ttl),
        _ => Err(Problem::bad_request(
            "`ttl` is a duration such as 10m, of at most 24h; without it, 1h",
        )),
    }
}

/// The fields of the page's form: a filter and its duration.
fn form(body: &[u8]) -> Option<(String, String)> {
    Some((field(body, "filter")?, field(body, "ttl")?))
}

/// The first field of that name in a form or in a query.
fn field(encoded: impl AsRef<[u8]>, wanted: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(encoded.as_ref());
    Some(fields.find(|(name, _)| name == wanted)?.1.into_owned())
}
