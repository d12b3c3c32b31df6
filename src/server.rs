//! A listener: accepts connections, bounds what they may take, and lets go of them in order.
//!
//! An accept loop of our own on hyper, since `axum::serve` has no header timeout, no bound on
//! connections and no deadline for its graceful shutdown.

mod activity;
mod connection;
mod host;
mod socket;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, atomic};
use std::time::Duration as StdDuration;

use axum::Router;
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use self::connection::Connection;
use crate::client::{ForwardedHeader, Proxies};
use crate::error::Error;
use crate::metrics::http::Http;
use crate::settings::{Duration, Network, Problems, Validate};
use crate::shutdown::{Phase, Shutdown};

/// Longest block of request headers, in bytes; also what one HTTP/1 connection buffers at most.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Connections that wait in the kernel while we are at our own limit.
const BACKLOG: u32 = 1024;

/// `[server]`: the main listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How many connections may be open at once. Further ones wait in the kernel's queue.
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// How many requests may be under way at once on one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
    /// The proxies in front of the service, as addresses and networks: only they are believed when
    /// they say whose request it is. With none, the client is whoever has connected.
    pub trusted_proxies: Vec<Network>,
    /// The header in which trusted proxies name the client: `x-forwarded-for`, or `forwarded` after
    /// RFC 7239. The other one is never read, since they pass it on as clients send it.
    pub forwarded_header: ForwardedHeader,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 8080,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            max_connections: 10_000,
            max_streams: 200,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
        }
    }
}

impl Settings {
    /// The proxies in front of the service, for a `RequestLayer`.
    pub fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxies.iter().copied(), self.forwarded_header)
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        for (key, value) in [
            ("server.header_timeout", self.header_timeout),
            ("server.idle_timeout", self.idle_timeout),
        ] {
            if value.is_zero() {
                problems.add(key, "must be longer than 0s");
            }
        }
        if self.trusted_proxies.iter().any(Network::is_everything) {
            let message = "trusts everyone, and so whatever a client says that it is: \
                           name the networks of the proxies";
            problems.add("server.trusted_proxies", message);
        }
    }
}

/// A bound listener that accepts nothing yet: connections wait in the kernel's queue.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds `host:port`. `name` is the listener's name in errors.
    ///
    /// # Errors
    /// [`Error::Bind`] with the address, when it cannot be resolved or bound.
    pub fn bind(name: &'static str, host: &str, port: u16) -> Result<Self, Error> {
        let bind = || {
            // An address may resolve to several, such as `localhost`: the first that works is it.
            let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in (host, port).to_socket_addrs()? {
                match listen(address) {
                    Ok(listener) => {
                        let address = listener.local_addr()?;
                        return Ok(Self { listener, address });
                    }
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        };
        bind().map_err(Error::bind(name, format_args!("{host}:{port}")))
    }

    /// Where it listens: with the port the system chose, if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router`, and what has no valid `Host` by `misaddressed`, until `shutdown` closes it, and then until the last connection is gone.
    ///
    /// At [`Shutdown`]'s last phase what is left is dropped: at once, unless a handler blocks.
    pub(crate) async fn serve(
        self,
        [router, misaddressed]: [Router; 2],
        settings: Settings,
        shutdown: Shutdown,
        http: Http,
    ) {
        let tasks = Tasks(watch::Sender::new(()));
        let server = Arc::new(Server {
            // Without it axum would build each route and its layers again for every request.
            router: router.with_state(()),
            misaddressed: misaddressed.with_state(()),
            protocols: protocols(&settings, tasks.clone()),
            header_timeout: *settings.header_timeout,
            idle_timeout: *settings.idle_timeout,
            shutdown,
            http,
        });
        let slots = Arc::new(Semaphore::new(settings.max_connections));
        tokio::select! {
            () = server.accept(&self.listener, &slots, &tasks) => {}
            () = server.shutdown.reached(Phase::Closing) => {}
        }
        // Clients in the kernel's queue have connected already: they are served before the door shuts.
        while let Some(Ok((stream, peer))) = now(self.listener.accept()).await {
            server.spawn(stream, peer, None, &tasks);
        }
        drop(self.listener);
        // When they are cut, too: only then have their requests ended, and left a line and a span.
        tasks.0.closed().await;
    }
}

/// What all connections of a listener share.
struct Server {
    router: Router,
    misaddressed: Router,
    protocols: auto::Builder<Tasks>,
    header_timeout: StdDuration,
    idle_timeout: StdDuration,
    shutdown: Shutdown,
    http: Http,
}

impl Server {
    /// Accepts for ever.
    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        slots: &Arc<Semaphore>,
        tasks: &Tasks,
    ) {
        const FIRST_PAUSE: StdDuration = StdDuration::from_millis(5);
        const LONGEST_PAUSE: StdDuration = StdDuration::from_secs(1);
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    self.spawn(stream, peer, Some(slot), tasks);
                }
                // The client gave up while it waited: nothing is wrong here.
                Err(error) if is_of_the_client(&error) => self.http.accept_errors.inc(),
                // No file descriptors, or no memory: wait for others to give some back.
                Err(error) => {
                    self.http.accept_errors.inc();
                    if pause == FIRST_PAUSE {
                        tracing::error!(%error, "cannot accept connections, and tries again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn spawn(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Option<tokio::sync::OwnedSemaphorePermit>,
        tasks: &Tasks,
    ) {
        // Without it small responses wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(self.clone(), stream, peer, (slot, tasks.0.subscribe()));
        tasks.execute(connection.run());
    }
}

/// What serves connections and the streams of HTTP/2: each holds a receiver until it has ended,
/// with all its requests, and each socket one for as long as it is open.
#[derive(Clone)]
struct Tasks(watch::Sender<()>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let running = self.0.subscribe();
        tokio::spawn(async move {
            future.await;
            drop(running);
        });
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn protocols(settings: &Settings, tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    builder
        .http1()
        // Connection times both the headers and the waits itself, without a timer a request.
        .header_read_timeout(None)
        // Our socket notices who goes away, as soon as an answer takes time: see its `poll_flush`.
        .half_close(true)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        // A peer that vanished without a word is noticed.
        .keep_alive_interval(StdDuration::from_secs(20))
        .keep_alive_timeout(StdDuration::from_secs(20));
    builder
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// What `future` has to say without being waited for.
async fn now<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}
