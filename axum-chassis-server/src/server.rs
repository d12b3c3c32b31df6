//! The HTTP server: accepts connections, enforces limits, and drains connections at shutdown.
//!
//! It has an accept loop of its own, on hyper, because `axum::serve` has no header timeout, no limit on connections and
//! no deadline for its graceful shutdown.

mod activity;
mod connection;
mod exchange;
mod host;
mod leftover;
mod listen;
mod refusal;
mod registry;
mod settings;
mod slots;
mod socket;
mod socket_file;
mod stream;
mod tasks;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, atomic};
use std::time::Duration as StdDuration;

use axum::Router;
use http::StatusCode;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::activity::TimeLimits;
use self::connection::Connection;
use self::listen::Acceptor;
pub use self::listen::{BindError, Bound, ListenAddress, ListenSocket};
use self::refusal::Refusals;
use self::registry::Registry;
use self::settings::HYPERS_HEADERS;
pub use self::settings::Settings;
use self::slots::Slots;
use self::tasks::ConnectionTasks;
use self::transport::Transport;
use crate::chunks;
use crate::events::Events;
use crate::limits::Limits;
use crate::shutdown::{Phase, Shutdown};

/// The maximum size of request headers, in bytes, and of the buffer of an HTTP/1 connection.
const MAX_HEADER_BYTES: usize = chunks::HTTP1;
/// The maximum size, in bytes, of an HTTP/2 stream's send buffer.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// The flow-control window of an HTTP/2 stream in bytes: RFC 9113's initial value. A client may send this much before
/// the service reads it. With hyper's default of 1 MiB, each request in flight could take so much memory.
const STREAM_WINDOW: u32 = 65_535;
/// The time a connection waits for its client before it can be closed for a new connection.
const GRACE: StdDuration = StdDuration::from_secs(1);
/// The same for the admin listener. It is short, so that more connections can be accepted per second than a client
/// opens.
const PROBE_GRACE: StdDuration = StdDuration::from_millis(5);

/// A listener that does not accept connections yet: they wait in the kernel's queue.
#[derive(Debug)]
pub struct Listening {
    listener: Acceptor,
    is_for_probes: bool,
}

impl Bound {
    /// Listens: from here on, connections wait until they are served.
    ///
    /// # Errors
    /// If another process has begun to listen on the address since it was bound.
    pub fn listen(self) -> Result<Listening, BindError> {
        Ok(Listening {
            listener: self.acceptor()?,
            is_for_probes: false,
        })
    }
}

/// The routers of a listener.
#[derive(Clone, Debug)]
pub struct Routers {
    router: Router,
    invalid_host: Router,
}

impl Routers {
    /// Serves `router`. A request without a valid `Host` gets a 400 without a body.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            invalid_host: Router::new().fallback(async || StatusCode::BAD_REQUEST),
        }
    }

    /// Responds to requests without a valid `Host` with this router.
    #[must_use]
    pub fn invalid_host(self, invalid_host: Router) -> Self {
        Self {
            invalid_host,
            ..self
        }
    }
}

impl Listening {
    /// Configures the listener for probes and scrapes, which use HTTP/1 and send a request as soon as they connect.
    /// Other clients cannot block probes, because a connection without a request loses its slot.
    #[must_use]
    pub fn for_probes(self) -> Self {
        Self {
            is_for_probes: true,
            ..self
        }
    }

    /// Serves `routers` until `shutdown` closes the listener and the last connection has ended.
    ///
    /// When the [`Trigger`](crate::shutdown::Trigger) of the shutdown is dropped, the remaining connections are dropped:
    /// immediately, unless a handler blocks.
    ///
    /// The server applies one of the `limits`, the number of connections. A layer around the routes applies the others.
    ///
    /// It applies these `settings`, without validating them: the timeouts, `max_streams` and `max_headers`. The others
    /// have an effect elsewhere: `max_connections` through [`Limits::new`], the addresses through
    /// [`Bound::from_settings`], and the proxies through [`Settings::proxies`].
    pub async fn serve(
        self,
        routers: Routers,
        settings: Settings,
        limits: Limits,
        shutdown: Shutdown,
        events: Arc<dyn Events>,
    ) {
        let tasks = ConnectionTasks::new(*settings.send_timeout, events.clone());
        let Routers {
            router,
            invalid_host,
        } = routers;
        let server = Arc::new(ListenerState {
            // Without `with_state`, axum would build each route and its layers again for every request.
            router: router.with_state(()),
            invalid_host: invalid_host.with_state(()),
            protocols: protocols(&settings, tasks.clone()),
            is_for_probes: self.is_for_probes,
            limits: TimeLimits {
                header: *settings.header_timeout,
                idle: *settings.idle_timeout,
                send: *settings.send_timeout,
                grace: match self.is_for_probes {
                    true => PROBE_GRACE,
                    false => GRACE,
                },
            },
            registry: Arc::default(),
            refusals: Refusals::new(events.clone()),
            shutdown,
            events,
        });
        let mut slots = Slots::new(limits);
        slots.resize(&*server.events);
        tokio::select! {
            // `accept` is polled first, so that a connection that it has already accepted, and that waits for a slot,
            // is served.
            biased;
            () = server.accept(&self.listener, &mut slots, &tasks) => {}
            () = server.shutdown.reached(Phase::Closing) => {}
        }
        // Clients in the kernel's queue have connected already, so they are served before the listener closes.
        while let Some(accepted) = now(self.listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => server.spawn(stream, peer, None, &tasks),
                Err(error) if is_of_the_client(&error) => {}
                Err(_) => break,
            }
        }
        drop(self.listener);
        // Wait also after an abort: the requests are recorded with a log line and a span only when their tasks have
        // ended.
        tasks.ended().await;
    }
}

/// The state that all connections of a listener share.
struct ListenerState {
    router: Router,
    invalid_host: Router,
    protocols: auto::Builder<ConnectionTasks>,
    is_for_probes: bool,
    limits: TimeLimits,
    registry: Arc<Registry>,
    refusals: Refusals,
    shutdown: Shutdown,
    events: Arc<dyn Events>,
}

impl ListenerState {
    /// Accepts until the listener closes.
    async fn accept(
        self: &Arc<Self>,
        listener: &Acceptor,
        slots: &mut Slots,
        tasks: &ConnectionTasks,
    ) {
        const FIRST_PAUSE: StdDuration = StdDuration::from_millis(5);
        const LONGEST_PAUSE: StdDuration = StdDuration::from_secs(1);
        let mut pause = FIRST_PAUSE;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    slots.resize(&*self.events);
                    let slot = match slots.semaphore.clone().try_acquire_owned() {
                        Ok(slot) => Some(slot),
                        Err(_) => {
                            let limit = match self.is_for_probes {
                                true => "the admin port's limit",
                                false => "server.max_connections",
                            };
                            slots.warn(limit);
                            self.slot(&slots.semaphore).await
                        }
                    };
                    self.spawn(stream, peer, slot, tasks);
                }
                // The client disconnected while it waited, which is not an error of the listener.
                Err(error) if is_of_the_client(&error) => {}
                // No file descriptors or no memory: wait until others are released.
                Err(error) => {
                    self.events.accept_failed();
                    if pause == FIRST_PAUSE {
                        tracing::error!(%error, "cannot accept connections; retrying");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Returns a slot for a new connection: the slot of the connection that has been idle longest, or the next slot
    /// that is released. `None` once the listener closes.
    async fn slot(self: &Arc<Self>, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        /// The pause between two searches. By then, another connection may be idle. A connection that was notified has
        /// closed, unless a request arrived first.
        const LOOK_AGAIN: StdDuration = StdDuration::from_millis(100);
        let grace = self.limits.grace;
        let mut slot = pin!(slots.clone().acquire_owned());
        loop {
            if self.registry.make_room(grace) {
                self.events.connection_evicted();
            }
            tokio::select! {
                slot = &mut slot => return slot.ok(),
                () = self.shutdown.reached(Phase::Closing) => return None,
                () = tokio::time::sleep(LOOK_AGAIN.min(grace)) => {}
            }
        }
    }

    fn spawn(
        self: &Arc<Self>,
        stream: Transport,
        peer: SocketAddr,
        slot: Option<OwnedSemaphorePermit>,
        tasks: &ConnectionTasks,
    ) {
        let open = tasks.hold();
        let connection = Connection::new(self.clone(), stream, peer, (slot, open));
        tasks.spawn(connection.run());
    }
}

fn protocols(settings: &Settings, tasks: ConnectionTasks) -> auto::Builder<ConnectionTasks> {
    let mut builder = auto::Builder::new(tasks);
    builder
        .http1()
        // `Connection` has the timeouts of headers and waits, with one timer for the whole connection.
        .header_read_timeout(None)
        // The socket's `poll_flush` notices a client that disconnects while it waits for a response.
        .half_close(true)
        // hyper copies a response into one buffer instead of writing a list of parts, which saves 680 instructions a request. The buffer
        // of a connection grows to what it has held at once, and stays this large: one chunk of 63 KiB, or almost two, because hyper takes a
        // chunk as long as the buffer holds less than 63 KiB.
        .writev(false)
        .max_buf_size(MAX_HEADER_BYTES);
    if settings.max_headers != HYPERS_HEADERS {
        builder.http1().max_headers(settings.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol()
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        // Detects a peer that vanished without closing the connection.
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

/// The output of `future`, if it is ready at once.
async fn now<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}
