//! `/log`: returns the log filter, and changes it for a while, with PUT or the form of the page.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
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
    fn change(&self, filter: &str, ttl: Option<Duration>) -> Result<(), BadFilter> {
        let (filter, ttl) = (filter.trim(), ttl.map(|ttl| *ttl));
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

    pub(super) fn to_json(&self) -> Value {
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

#[derive(Default, Deserialize)]
struct For {
    ttl: Option<String>,
}

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    Json(admin.filter.to_json()).into_response()
}

/// What the page's form sends.
struct Form {
    filter: String,
    /// Empty for good.
    ttl: String,
    /// Empty without one.
    token: String,
}

/// A PUT, or the POST of the page's form, which is the same change, and then the page again.
pub(super) async fn change(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let body = Bytes::from_request(Request::new(body), &())
        .await
        .map_err(|refused| Problem::new(refused.status()).detail(refused.body_text()))?;
    let is_form = head.method == Method::POST;
    let (filter, ttl, token) = if is_form {
        let Form { filter, ttl, token } =
            form(&body).ok_or_else(|| Problem::bad_request("a form has `filter`, and `ttl`"))?;
        let ttl = (!ttl.is_empty()).then_some(ttl);
        let token = (!token.is_empty()).then(|| token.into_bytes());
        (filter, ttl, token)
    } else {
        let Query(For { ttl }) = Query::try_from_uri(&head.uri).unwrap_or_default();
        let filter =
            String::from_utf8(body.into()).map_err(|_| Problem::bad_request("a filter is text"))?;
        (filter, ttl, bearer(&head.headers).map(Vec::from))
    };
    if !may_write(
        client,
        &head.headers,
        token.as_deref(),
        admin.token.as_ref(),
    ) {
        return Err(Problem::new(StatusCode::FORBIDDEN).detail(
            "changes come from this machine and no other site's page, or with \
             `Authorization: Bearer` and admin.token",
        ));
    }
    let ttl = ttl.map(|ttl| ttl.parse()).transpose().map_err(|_| {
        Problem::bad_request(
            "`ttl` is a duration such as 10m, of at most 36500d; without it, for good",
        )
    })?;
    admin
        .filter
        .change(&filter, ttl)
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    if is_form {
        let mut response = StatusCode::SEE_OTHER.into_response();
        let page = HeaderValue::from_static("./#log");
        response.headers_mut().insert(header::LOCATION, page);
        return Ok(response);
    }
    Ok(Json(admin.filter.to_json()).into_response())
}

fn form(body: &[u8]) -> Option<Form> {
    let field = |wanted| {
        let mut fields = form_urlencoded::parse(body);
        Some(fields.find(|(name, _)| name == wanted)?.1.into_owned())
    };
    Some(Form {
        filter: field("filter")?,
        ttl: field("ttl")?,
        token: field("token").unwrap_or_default(),
    })
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?;
    value.as_bytes().strip_prefix(b"Bearer ")
}

/// Whoever knows the token may, and else this machine, and no page of another site in a browser on it.
fn may_write(
    client: SocketAddr,
    headers: &HeaderMap,
    given: Option<&[u8]>,
    token: Option<&Secret>,
) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text(header::HOST.as_str()).unwrap_or_default();
    let origin = text(header::ORIGIN.as_str());
    let authority = origin.map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    if authority.is_some_and(|authority| authority != host) {
        return false;
    }
    // A forwarded request also comes from this machine, but says for whom: that is not this machine.
    let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    match (given, token) {
        (Some(given), Some(token)) => same(given, token.expose().as_bytes()),
        (None, _) => {
            // A site's name may lead here, too: a browser's page has to be of this machine by its address.
            let local = origin.is_none() || is_address(host);
            client.ip().to_canonical().is_loopback() && !forwarded && local
        }
        _ => false,
    }
}

/// Whether a host is no name that somebody else may have given it.
fn is_address(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    bare == "localhost"
        || bare
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok()
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
                may_write(client, &headers, bearer(&headers), token),
                expected,
                "{client} {authorization:?} {forwarded:?}"
            );
        }
    }

    #[test]
    fn in_a_browser_only_this_listeners_own_page_may_write() {
        let cases = [
            ("localhost:9090", "http://localhost:9090", true),
            ("127.0.0.1:9090", "http://127.0.0.1:9090", true),
            ("[::1]:9090", "http://[::1]:9090", true),
            ("localhost:9090", "https://evil.example", false),
            ("localhost:9090", "http://localhost:8080", false),
            ("localhost:9090", "null", false),
            // A name of somebody else's that leads to this machine.
            ("evil.example:9090", "http://evil.example:9090", false),
        ];
        for (host, origin, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header value"));
            headers.insert(header::ORIGIN, origin.parse().expect("a header value"));
            let client: SocketAddr = "127.0.0.1:5".parse().expect("an address");
            assert_eq!(
                may_write(client, &headers, None, None),
                expected,
                "{host} {origin}"
            );
        }
    }
}
