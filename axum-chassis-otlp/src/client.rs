//! The HTTP client of an exporting thread: one request at a time.
//!
//! It uses hyper, which the service contains anyway, because the usual clients would add dozens of crates. It runs on the
//! exporting thread only, and shares nothing with the service's runtime.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::text::{chain, shortened};
use crate::variables::Collector;

/// The maximum size of a response's body.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The maximum size of a message of the collector, in the log.
const LONGEST_MESSAGE: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    collector: Collector,
    stopping: watch::Receiver<bool>,
}

/// The content of a successful response.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Accepted {
    /// The number of spans, data points or log records that the collector did not accept.
    pub(crate) rejected: u64,
    /// The reason, or a warning if nothing was rejected. Usually empty.
    pub(crate) message: String,
}

/// The number of items, of `sent`, that the collector did not accept.
pub(crate) fn refused(result: &Result<Accepted, String>, sent: u64) -> u64 {
    match result {
        Ok(accepted) => accepted.rejected.min(sent),
        Err(_) => sent,
    }
}

impl Client {
    pub(crate) fn new(collector: Collector, stopping: watch::Receiver<bool>) -> io::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            collector,
            stopping,
        })
    }

    /// Sends one export, and retries temporary errors. This blocks the thread, for at most the collector's timeout.
    ///
    /// # Errors
    /// The error of the last attempt, as a text for the log.
    pub(crate) fn send(&self, export: &impl Message) -> Result<Accepted, String> {
        let request = self.request(export.encode_to_vec());
        let timeout = self.collector.timeout;
        let mut last = None;
        let sent = self.runtime.block_on(async {
            let attempts = self.attempts(&request, &mut last);
            tokio::time::timeout(timeout, attempts).await
        });
        // The error of the last attempt is more useful than the timeout.
        sent.unwrap_or_else(|_| {
            Err(last.unwrap_or_else(|| format!("no response within {} ms", timeout.as_millis())))
        })
    }

    /// Waits for a point in time or for the stop. Returns whether the export stops.
    pub(crate) fn wait_until(&self, time: Instant) -> bool {
        let mut stopping = self.stopping.clone();
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep_until(time.into()) => false,
                // An error means that the sender is gone, and with it the program's use of the export.
                _ = stopping.wait_for(|stopping| *stopping) => true,
            }
        })
    }

    /// The request, as HTTP/1.1 sends it. It closes its connection, because exports are seconds apart.
    fn request(&self, export: Vec<u8>) -> Request<Bytes> {
        let Collector {
            endpoint,
            headers,
            gzip,
            ..
        } = &self.collector;
        let mut headers = headers.clone();
        let agent = concat!("axum-chassis-otlp/", env!("CARGO_PKG_VERSION"));
        headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(agent));
        let host = endpoint.authority().map(|host| host.as_str());
        let host = host.and_then(|host| HeaderValue::from_str(host).ok());
        if let Some(host) = host {
            // A `host` in the variables is for a proxy that chooses the collector by name.
            headers.entry(header::HOST).or_insert(host);
        }
        let fixed = |value| HeaderValue::from_static(value);
        headers.insert(header::CONTENT_TYPE, fixed("application/x-protobuf"));
        headers.insert(header::CONNECTION, fixed("close"));
        let mut body = export;
        if *gzip {
            headers.insert(header::CONTENT_ENCODING, fixed("gzip"));
            body = compressed(&body);
        }
        let path = endpoint.path_and_query().cloned();
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
            .into();
        *request.headers_mut() = headers;
        request
    }

    /// Sends the request, and retries temporary errors with exponential backoff. `last` is set to the error of the last
    /// attempt.
    async fn attempts(
        &self,
        request: &Request<Bytes>,
        last: &mut Option<String>,
    ) -> Result<Accepted, String> {
        let mut stopping = self.stopping.clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let (error, requested) = match self.attempt(request).await {
                Ok(response) if response.status().is_success() => {
                    return Ok(accepted(response.body()));
                }
                Ok(response) => {
                    let error = format!("the collector returned {}", response.status());
                    if !is_temporary(response.status()) {
                        return Err(error);
                    }
                    (error, retry_after(response.headers(), SystemTime::now()))
                }
                Err(error) => (chain(error.as_ref()), None),
            };
            // During the shutdown there is no time to wait for a collector that is not available.
            if *stopping.borrow() {
                return Err(error);
            }
            *last = Some(error);
            let jitter = Duration::from_millis(fastrand::u64(..100));
            let wait = requested.unwrap_or(pause).max(pause).saturating_add(jitter);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // With an error, the sender is gone: no stop can be requested any more, and only the pause counts.
                Ok(_) = stopping.wait_for(|stopping| *stopping) => {}
            }
            pause = pause.saturating_mul(2);
        }
    }

    async fn attempt(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        let endpoint = &self.collector.endpoint;
        let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = self.collector.tls.as_ref();
        let port = if tls.is_some() { 443 } else { 80 };
        let port = endpoint.port_u16().unwrap_or(port);
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        match tls {
            Some(tls) => exchange(tls.connect(host, stream).await?, request).await,
            None => exchange(stream, request).await,
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
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

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a vector accepts all bytes")
}

/// Reads the body of a successful response. The responses for all signals have the same encoding.
fn accepted(body: &[u8]) -> Accepted {
    // Some collectors return an empty body or a text instead.
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    Accepted {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
        message: shortened(&partial.error_message, LONGEST_MESSAGE).to_owned(),
    }
}

/// Whether a client of OTLP retries after a response with this status.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The time that the collector asks the client to wait, given in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A date in the past means now.
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A collector with a timeout that is shorter than the pause before the first retry.
    fn collector(endpoint: &str) -> Collector {
        Collector {
            endpoint: endpoint.parse().expect("a URL"),
            headers: HeaderMap::new(),
            gzip: false,
            timeout: Duration::from_millis(500),
            tls: None,
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Mon, 30 Nov 2026 12:00:00 GMT").expect("a date");
        for (value, expected) in [
            ("3", Some(3)),
            (" 0 ", Some(0)),
            ("Mon, 30 Nov 2026 12:01:40 GMT", Some(100)),
            ("Monday, 30-Nov-26 12:00:05 GMT", Some(5)),
            ("Mon, 30 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{headers:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_retry_waits_also_if_a_stop_cannot_be_requested_any_more() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stopping, stop) = watch::channel(false);
        let client = Client::new(collector(&format!("http://{address}/")), stop);
        let client = client.expect("a runtime");
        drop(stopping);
        let sent = std::thread::spawn(move || client.send(&ExportTraceServiceResponse::default()));
        // Each attempt fails, because the connection is closed.
        drop(listener.accept().expect("the first attempt"));
        assert!(sent.join().expect("no panic").is_err());
        listener.set_nonblocking(true).expect("a listener");
        assert!(listener.accept().is_err(), "a second attempt");
    }

    #[test]
    fn a_request_has_one_host_that_of_the_variables_or_of_the_endpoint() {
        let (_, stop) = watch::channel(false);
        let mut collector = collector("http://collector:4318/v1/traces");
        for (variable, expected) in [(None, "collector:4318"), (Some("a.example"), "a.example")] {
            if let Some(host) = variable {
                let host = HeaderValue::from_static(host);
                collector.headers.insert(header::HOST, host);
            }
            let client = Client::new(collector.clone(), stop.clone()).expect("a runtime");
            let request = client.request(Vec::new());
            let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
            assert_eq!(hosts, [expected]);
        }
    }

    #[test]
    fn a_response_without_a_message_of_otlp_accepts_everything() {
        // An empty body, a text, and a negative number of rejected spans.
        let negative = [10, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        for body in [&b""[..], b"{}", b"OK", &negative] {
            assert_eq!(accepted(body), Accepted::default(), "{body:?}");
        }
    }
}
