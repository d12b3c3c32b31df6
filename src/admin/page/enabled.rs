//! `/`: the admin page, to open first during an incident. The server renders it from the data of `/status`, so it works
//! without JavaScript; `page.js` updates it in place. A content security policy forbids resources from other hosts.

mod draw;
mod html;
mod tables;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::Admin;
use super::status::Status;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn show(admin: &Admin, _: &HeaderMap) -> Response {
    let page = draw::page(&Status::of(admin));
    answer("text/html; charset=utf-8", page.into())
}

pub(super) fn style(_: &Admin, _: &HeaderMap) -> Response {
    let style = include_str!("page.css");
    answer("text/css; charset=utf-8", style.into())
}

pub(super) fn script(_: &Admin, _: &HeaderMap) -> Response {
    let script = include_str!("page.js");
    answer("text/javascript; charset=utf-8", script.into())
}

fn answer(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The next response may have other data, or come from another version of the service.
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
