//! An HTTP/1.1 client for one of a process's listeners. Each request has a connection of its own.
//!
//! The client uses hyper, which axum-chassis contains anyway, in a small runtime for each request. It has 60 lines and
//! adds two crates (`want`, `try-lock`). `ureq` would add four crates, among them a second `base64`. `minreq` would add
//! one crate, but has its own types for methods and headers instead of those of the crate `http`.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::subject::Subject;

/// One of the listeners of a [`Process`](crate::Process).
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    subject: &'a Subject,
    address: SocketAddr,
    /// Those of every request that does not have a header with the same name.
    headers: &'a [(String, String)],
}

/// The response to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status code, such as 200.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The complete body.
    pub body: Bytes,
}

// === impl Listener ===

impl<'a> Listener<'a> {
    pub(crate) fn new(
        subject: &'a Subject,
        address: SocketAddr,
        headers: &'a [(String, String)],
    ) -> Self {
        Self {
            subject,
            address,
            headers,
        }
    }

    /// The listener's address, for other clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a `GET` request.
    ///
    /// # Panics
    /// If there is no response. Also inside async code, which must not be blocked.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], Bytes::new())
    }

    /// Sends a `POST` request with a JSON body: a [`Value`], or any text.
    ///
    /// # Panics
    /// Like [`get`](Self::get).
    #[track_caller]
    pub fn post(&self, path: &str, json: impl ToString) -> Response {
        let kind = [("content-type", "application/json")];
        self.request("POST", path, &kind, json.to_string())
    }

    /// Sends any request. If the headers do not contain a `host`, it is added.
    ///
    /// # Panics
    /// Like [`get`](Self::get), and if the request is invalid.
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

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, String> {
        self.exchange(method, path, headers, body)
            .map_err(|error| format!("{error:#}"))
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let is_given = |name: &str| {
            headers
                .iter()
                .any(|(given, _)| given.eq_ignore_ascii_case(name))
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_given(name)) {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body))?;
        if !request.headers().contains_key(header::HOST) {
            let host = self.address.to_string().parse()?;
            request.headers_mut().insert(header::HOST, host);
        }
        let timeout = self.subject.timeout;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let answer = tokio::time::timeout(timeout, send(self.address, request)).await;
            answer.with_context(|| format!("nothing came within {timeout:?}"))?
        })
    }
}

async fn send(to: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Response> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
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
    /// The value of the first header with this name.
    ///
    /// # Panics
    /// If the value is not text.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str();
        Some(value.unwrap_or_else(|error| panic!("{name}: {error}: {self:?}")))
    }

    /// The body as text.
    ///
    /// # Panics
    /// If the body is not text.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
