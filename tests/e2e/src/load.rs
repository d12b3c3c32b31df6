//! Load that counts what fails: clients that ask for the same thing over and over, each in the way of its kind.
//!
//! A request without a response, or with another status than 2xx, has failed. A request that the server has not seen is
//! repeated, as every good client does: it could not be written because an idle connection was closed, or its HTTP/2
//! stream was refused, or excluded by the GOAWAY of a graceful shutdown. Repeated streams are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Clients of each kind.
const CLIENTS: u32 = 4;
/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client's protocol, and its use of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP/1.1, one connection for request after request, as services do.
    Kept,
    /// HTTP/1.1, a connection for each request, as short-lived clients do.
    New,
    /// HTTP/2, one connection for all clients of this kind.
    Http2,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "HTTP/1.1 on kept connections",
            Self::New => "HTTP/1.1 on new connections",
            Self::Http2 => "HTTP/2",
        })
    }
}

/// Load under way.
#[derive(Debug)]
pub struct Load {
    runtime: Runtime,
    clients: JoinSet<()>,
    shared: Arc<Shared>,
}

/// The numbers of requests and their results.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Requests of each kind.
    pub requests: BTreeMap<Kind, u64>,
    /// Streams that the server left out when it closed a connection in order, and that were sent again.
    pub again: u64,
    /// Failures: the time since the start, the kind of client, and the error.
    pub failures: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    target: Mutex<Uri>,
    over: AtomicBool,
    counts: Mutex<Counts>,
}

// === impl Load ===

impl Load {
    /// Asks for `url`, all clients together `rate` times a second, or as fast as they are answered if that is slower.
    ///
    /// # Panics
    /// If `url` is invalid, or the system refuses threads.
    pub fn start(url: &str, rate: NonZeroU32) -> Self {
        let runtime = Runtime::new().expect("threads");
        let shared = Arc::new(Shared {
            began: Instant::now(),
            target: Mutex::new(parsed(url)),
            over: AtomicBool::new(false),
            counts: Mutex::default(),
        });
        let pause = Duration::from_secs(1) * CLIENTS * 3 / rate.get();
        let mut clients = JoinSet::new();
        let mut begin = |kind, http| {
            let client = ask_on(kind, http, pause, shared.clone());
            clients.spawn_on(client, runtime.handle());
        };
        let all_on_one = http(Kind::Http2);
        for _ in 0..CLIENTS {
            begin(Kind::Kept, http(Kind::Kept));
            begin(Kind::New, http(Kind::New));
            begin(Kind::Http2, all_on_one.clone());
        }
        Self {
            runtime,
            clients,
            shared,
        }
    }

    /// Has requests from now on ask for another URL.
    ///
    /// # Panics
    /// If `url` is invalid.
    pub fn turn_to(&self, url: &str) {
        *lock(&self.shared.target) = parsed(url);
    }

    /// The results so far.
    pub fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }

    /// Ends it, and waits for the answers to what is under way.
    pub fn end(self) -> Counts {
        self.shared.over.store(true, Ordering::Relaxed);
        self.runtime.block_on(self.clients.join_all());
        lock(&self.shared.counts).clone()
    }
}

type Http = Client<HttpConnector, Empty<Bytes>>;

fn http(kind: Kind) -> Http {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(usize::from(kind != Kind::New))
        .http2_only(kind == Kind::Http2)
        .build_http()
}

async fn ask_on(kind: Kind, http: Http, pause: Duration, shared: Arc<Shared>) {
    let mut due = interval(pause);
    while !shared.over.load(Ordering::Relaxed) {
        due.tick().await;
        let target = lock(&shared.target).clone();
        let (asked, mut again) = (Instant::now(), 0);
        let answer = timeout(TIMEOUT, async {
            loop {
                match ask(&http, target.clone()).await {
                    Err(error) if is_unseen(&error) => again += 1,
                    answer => return answer,
                }
            }
        })
        .await;
        let failure = match answer {
            Ok(Ok(status)) if status.is_success() => None,
            Ok(Ok(status)) => Some(status.to_string()),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("no answer within {TIMEOUT:?}")),
        };
        let mut counts = lock(&shared.counts);
        *counts.requests.entry(kind).or_default() += 1;
        counts.again += again;
        if let Some(failure) = failure {
            let (when, took) = (asked - shared.began, asked.elapsed());
            let failure = format!("after {when:.1?}, for {took:.1?}: {kind}, {target}: {failure}");
            counts.failures.push(failure);
        }
    }
}

async fn ask(http: &Http, target: Uri) -> Result<StatusCode> {
    let answer = http.get(target).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}

/// Whether the server says that it has not looked at the request.
fn is_unseen(error: &anyhow::Error) -> bool {
    let mut said = error.chain().filter_map(|cause| cause.downcast_ref());
    said.any(|error: &h2::Error| {
        let left_out = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (left_out || refused)
    })
}

fn parsed(url: &str) -> Uri {
    url.parse()
        .unwrap_or_else(|error| panic!("invalid URL {url:?}: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Counts ===

impl Counts {
    /// The number of requests of all kinds.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Failures first, at most twenty, then a line with all of the numbers.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures.iter().take(20) {
            writeln!(f, "{failure}")?;
        }
        let kinds: Vec<_> = self
            .requests
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let (total, failed, kinds) = (self.total(), self.failures.len(), kinds.join(", "));
        let again = self.again;
        write!(
            f,
            "{total} requests, {failed} failed ({kinds}; {again} left out by a GOAWAY and sent again)"
        )
    }
}
