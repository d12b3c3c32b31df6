//! `/log`: the log filter, which can be changed for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequest, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Admin;
use crate::boxed::boxed;
use crate::logs::{BadFilter, Logs};
use crate::problem::Problem;
use crate::settings::{Duration, Secret};

/// The log filter in force, and the one of the settings to go back to. All clones are one.
#[derive(Clone)]
pub(crate) struct Filter {
    logs: Logs,
    state: Arc<Mutex<Changed>>,
}

struct Changed {
    /// What the settings say.
    base: String,
    /// Until when another filter is in force, if one is: for ever without an instant.
    until: Option<Option<Instant>>,
    /// Counts the changes: a revert that is not for the latest comes too late.
    changes: u64,
}

impl Filter {
    pub(super) fn new(logs: Logs) -> Self {
        let changed = Changed {
            base: logs.filter(),
            until: None,
            changes: 0,
        };
        Self {
            logs,
            state: Arc::new(Mutex::new(changed)),
        }
    }

    /// Takes over another filter from the settings: now, or when a change by hand reverts.
    pub(crate) fn set_base(&self, filter: &str) -> Result<(), BadFilter> {
        let mut state = self.state();
        if state.until.is_none() {
            self.logs.set_filter(filter)?;
        }
        filter.clone_into(&mut state.base);
        Ok(())
    }

    /// Puts a filter in force, for a while or until it is changed again.
    fn change(&self, filter: &str, ttl: Option<StdDuration>) -> Result<(), BadFilter> {
        let mut state = self.state();
        self.logs.set_filter(filter)?;
        state.changes += 1;
        state.until = Some(ttl.map(|ttl| Instant::now() + ttl));
        tracing::warn!(
            filter,
            ttl = ttl.map(|ttl| Duration::from(ttl).to_string()),
            "log filter changed"
        );
        if let Some(ttl) = ttl {
            let (this, change) = (self.clone(), state.changes);
            tokio::spawn(boxed(async move {
                tokio::time::sleep(ttl).await;
                this.revert(change);
            }));
        }
        Ok(())
    }

    fn revert(&self, change: u64) {
        let mut state = self.state();
        if state.changes == change {
            state.until = None;
            // It was valid when it became the base.
            let _ = self.logs.set_filter(&state.base);
            tracing::warn!(filter = state.base, "log filter reverted");
        }
    }

    fn to_json(&self) -> Value {
        let state = self.state();
        let left = state
            .until
            .flatten()
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

#[derive(Deserialize)]
struct For {
    ttl: Option<Duration>,
}

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    Json(admin.filter.to_json()).into_response()
}

pub(super) async fn change(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    if !may_write(client, request.headers(), admin.token.as_ref()) {
        return Err(Problem::new(StatusCode::FORBIDDEN).detail(
            "changes come from this machine, or with `Authorization: Bearer` and admin.token",
        ));
    }
    let Query(For { ttl }) = Query::try_from_uri(request.uri()).map_err(|_| {
        Problem::bad_request("`ttl` is a duration such as 10m; without it, for good")
    })?;
    let filter = String::from_request(request, &())
        .await
        .map_err(|refused| Problem::new(refused.status()).detail(refused.body_text()))?;
    admin
        .filter
        .change(filter.trim(), ttl.map(|ttl| *ttl))
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(Json(admin.filter.to_json()))
}

/// A forwarded request also comes from this machine, but says for whom: that is not this machine.
fn may_write(client: SocketAddr, headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    match (bearer, token) {
        (Some(given), Some(token)) => same(given, token.expose().as_bytes()),
        (None, _) => client.ip().to_canonical().is_loopback() && !forwarded,
        _ => false,
    }
}

/// Compares without telling by the time it takes where two values differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_or_the_token_may_write() {
        let token = Secret::from("s3cret".to_owned());
        let (here, there) = ("127.0.0.1:5", "10.0.0.7:5");
        let cases = [
            (here, None, None, None, true),
            ("[::1]:5", None, None, None, true),
            ("[::ffff:127.0.0.1]:5", None, None, None, true),
            (there, None, None, None, false),
            (there, None, Some(&token), None, false),
            (there, Some("Bearer s3cret"), Some(&token), None, true),
            (there, Some("Bearer s3creT"), Some(&token), None, false),
            (there, Some("Bearer "), Some(&token), None, false),
            (there, Some("Bearer s3cret"), None, None, false),
            (here, Some("Bearer wrong"), Some(&token), None, false),
            (here, None, None, Some("8.8.8.8"), false),
        ];
        for (client, authorization, token, forwarded, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(
                    header::AUTHORIZATION,
                    value.parse().expect("a header value"),
                );
            }
            if let Some(value) = forwarded {
                headers.insert("x-forwarded-for", value.parse().expect("a header value"));
            }
            let client: SocketAddr = client.parse().expect("an address");
            assert_eq!(
                may_write(client, &headers, token),
                expected,
                "{client} {authorization:?} {forwarded:?}"
            );
        }
    }
}
