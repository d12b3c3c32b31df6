//! A client for one of a process's listeners: HTTP/1.1, each request on a connection of its own.
//!
//! It uses the hyper that also serves the requests, in a small runtime for each request.

use std::net::SocketAddr;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::subject::Subject;
use crate::error::Chain;

/// One of the listeners of a [`Process`](super::Process).
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    subject: &'a Subject,
    address: SocketAddr,
}

/// The response to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status code, such as 200.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, to the end.
    pub body: Bytes,
}

// === impl Listener ===

impl<'a> Listener<'a> {
    pub(super) fn new(subject: &'a Subject, address: SocketAddr) -> Self {
        Self { subject, address }
    }

    /// Its address, for other clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET`.
    ///
    /// # Panics
    /// If there is no answer; and within async code, which must not be blocked.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], Bytes::new())
    }

    /// `POST` of JSON: a [`Value`], or any text.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn post(&self, path: &str, json: impl ToString) -> Response {
        let kind = [("content-type", "application/json")];
        self.request("POST", path, &kind, json.to_string())
    }

    /// Any request. A `host` that is not among the headers is added.
    ///
    /// # Panics
    /// As [`get`](Self::get), and if this is not a valid request.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        match self.ask(method, path, headers, body.into()) {
            Ok(answer) => answer,
            Err(error) => self
                .subject
                .fail(&format!("did not answer {method} {path}: {error}")),
        }
    }

    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, String> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        if !request.headers().contains_key(header::HOST) {
            let host = self.address.to_string().parse();
            request
                .headers_mut()
                .extend(host.ok().map(|host| (header::HOST, host)));
        }
        let timeout = self.subject.timeout;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let answer = tokio::time::timeout(timeout, send(self.address, request)).await;
            let answer = answer.map_err(|_| format!("nothing came within {timeout:?}"))?;
            answer.map_err(|error| Chain(error.as_ref()).to_string())
        })
    }
}

async fn send(
    to: SocketAddr,
    request: Request<Body>,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: axum::body::to_bytes(Body::new(body), usize::MAX).await?,
        })
    };
    tokio::select! {
        answer = answer => answer,
        // If the connection ends without an error, the response may still be readable.
        Err(error) = connection => Err(error.into()),
    }
}

// === impl Response ===

impl Response {
    /// The first header with this name.
    ///
    /// # Panics
    /// If it is not text.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str();
        Some(value.unwrap_or_else(|error| panic!("{name}: {error}: {self:?}")))
    }

    /// Its body as text.
    ///
    /// # Panics
    /// If it is something else.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Its body as JSON.
    ///
    /// # Panics
    /// If it is something else.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
