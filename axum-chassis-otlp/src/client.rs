//! The HTTP client of the exporting thread: one request at a time, without TLS.
//!
//! It uses hyper, which the service contains anyway, because the exporter's usual client would add 32 crates.
//! It runs on the exporting thread only, and shares nothing with the service's runtime.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::queue::Spans;
use crate::text::chain;

/// The maximum size of a response's body.
const LONGEST_ANSWER: usize = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    host: String,
    port: u16,
    /// The timeout of a batch, for all its attempts together.
    timeout: Duration,
    stopping: watch::Receiver<bool>,
    spans: Arc<Spans>,
}

impl Client {
    pub(crate) fn new(
        endpoint: &Uri,
        timeout: Duration,
        stopping: watch::Receiver<bool>,
        spans: Arc<Spans>,
    ) -> io::Result<Self> {
        let host = endpoint.host().unwrap_or_default();
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_u16().unwrap_or(80),
            timeout,
            stopping,
            spans,
        })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = for_the_wire(request);
        let mut last = None;
        let sent = self.runtime.block_on(async {
            let attempts = self.attempts(&request, &mut last);
            tokio::time::timeout(self.timeout, attempts).await
        });
        let result = sent.unwrap_or_else(|_| {
            // The error of the last attempt is more useful than the timeout.
            last.unwrap_or_else(|| {
                Err(format!("no response within {} ms", self.timeout.as_millis()).into())
            })
        });
        match &result {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => self.problem(format!("the collector returned {}", response.status())),
            Err(error) => self.problem(chain(error.as_ref())),
        }
        result
    }

    fn problem(&self, problem: String) {
        self.spans.set_problem(problem);
    }

    /// Sends the request, and retries temporary errors with exponential backoff. `last` is set to the result of the
    /// last attempt.
    async fn attempts(
        &self,
        request: &Request<Bytes>,
        last: &mut Option<Result<Response<Bytes>, HttpError>>,
    ) -> Result<Response<Bytes>, HttpError> {
        let mut stopping = self.stopping.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self.attempt(request).await;
            let again = match &result {
                Ok(response) => is_temporary(response.status()),
                Err(_) => true,
            };
            // During the shutdown there is no time to wait for a collector that is not available.
            if !again || *stopping.borrow() {
                return result;
            }
            let asked = result.as_ref().ok().and_then(retry_after);
            *last = Some(result);
            let jitter = Duration::from_millis(fastrand::u64(..100));
            tokio::select! {
                () = tokio::time::sleep(asked.unwrap_or(pause).max(pause) + jitter) => {}
                // An error means that the sender is gone, so no stop can be requested any more.
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            pause *= 2;
        }
    }

    async fn attempt(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = request.clone().map(Full::new);
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::select! {
            answer = answer => answer,
            // If the connection ends without an error, the response may still be readable.
            Err(error) = connection => Err(error.into()),
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'answer>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'client: 'answer,
        Self: 'answer,
    {
        // This may block: the exporting thread has nothing else to do, and is not a thread of a runtime.
        Box::pin(ready(self.send(request)))
    }
}

/// Prepares a request for HTTP/1.1: its target is only the path, and it closes its connection, because batches are
/// seconds apart.
fn for_the_wire(mut request: Request<Bytes>) -> Request<Bytes> {
    let host = request.uri().authority().map(|host| host.as_str());
    let host = host.and_then(|host| HeaderValue::from_str(host).ok());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
    let headers = request.headers_mut();
    headers.extend(host.map(|host| (header::HOST, host)));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

/// Whether a client of OTLP retries after a response with this status.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?;
    Some(Duration::from_secs(seconds.to_str().ok()?.parse().ok()?))
}
