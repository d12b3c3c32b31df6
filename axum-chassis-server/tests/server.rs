//! The server in a program without the rest of the chassis.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::routing::get;
use axum_chassis_server::shutdown::{self, Trigger};
use axum_chassis_server::{Bound, Events, Limits, Routers, Settings, limits};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

/// The numbers of a server.
#[derive(Default)]
struct Numbers {
    open: AtomicI64,
    evicted: AtomicUsize,
    limit: AtomicUsize,
    refused: Mutex<Vec<&'static str>>,
}

impl Events for Numbers {
    fn connection_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    fn connection_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn connections_limited(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn connection_evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, reason: &'static str) {
        self.refused.lock().expect("not poisoned").push(reason);
    }
}

struct Serving {
    address: SocketAddr,
    trigger: Trigger,
    numbers: Arc<Numbers>,
    task: JoinHandle<()>,
}

/// Serves the router with at most `connections`.
fn serve(router: Router, connections: usize) -> Serving {
    let bound = Bound::tcp("127.0.0.1", 0).expect("bound");
    let address = bound.address().tcp().expect("a TCP address");
    let (trigger, shutdown) = shutdown::channel();
    let numbers = Arc::<Numbers>::default();
    let limits = Limits::new(&limits::Settings::default(), Some(connections));
    let listening = bound.listen().expect("listening");
    let routers = Routers::new(router);
    let task = listening.serve(
        routers,
        Settings::default(),
        limits,
        shutdown,
        numbers.clone(),
    );
    Serving {
        address,
        trigger,
        numbers,
        task: tokio::spawn(task),
    }
}

/// All that the server sends until it closes the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends the answer as well.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request).await.expect("sent");
    answer(&mut stream).await
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn a_router_is_served_until_the_shutdown_and_its_connections_are_counted() {
    let server = serve(hello(), 7);
    let text = ask(server.address, REQUEST).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("hello"));
    assert_eq!(server.numbers.limit.load(Ordering::Relaxed), 7);
    server.trigger.stop();
    server.task.await.expect("served");
    assert_eq!(server.numbers.open.load(Ordering::Relaxed), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn requests_that_are_not_valid_are_rejected_and_counted_by_reason() {
    let server = serve(hello(), 7);
    let text = ask(
        server.address,
        b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    ask(server.address, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").await;
    ask(server.address, &[22, 3, 1, 0, 5]).await;
    server.trigger.stop();
    server.task.await.expect("served");
    let refused = server.numbers.refused.lock().expect("not poisoned");
    assert_eq!(*refused, ["proxy_protocol", "tls"]);
}

#[tokio::test]
async fn at_the_limit_the_connection_that_has_been_idle_longest_makes_room() {
    let server = serve(hello(), 1);
    let mut idle = TcpStream::connect(server.address).await.expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .expect("sent");
    let mut first = [0];
    idle.read_exact(&mut first).await.expect("an answer");
    let text = ask(server.address, REQUEST).await;
    assert!(text.ends_with("hello"), "{text}");
    assert!(answer(&mut idle).await.ends_with("hello"));
    assert_eq!(server.numbers.evicted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_in_flight_finishes_after_the_stop_and_is_aborted_when_the_trigger_is_dropped() {
    let (begun, wake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, wake) = (begun.clone(), wake.clone());
        async move || {
            begun.notify_one();
            wake.notified().await;
            "done"
        }
    };
    let router = Router::new().route("/", get(handler));
    for is_aborted in [false, true] {
        let server = serve(router.clone(), 7);
        let asked = tokio::spawn(ask(server.address, REQUEST));
        begun.notified().await;
        server.trigger.stop();
        let mut task = server.task;
        let early = tokio::time::timeout(Duration::from_millis(50), &mut task).await;
        assert!(early.is_err(), "the request is still in flight");
        match is_aborted {
            true => drop(server.trigger),
            false => wake.notify_one(),
        }
        task.await.expect("served");
        let text = asked.await.expect("asked");
        assert_eq!(text.ends_with("done"), !is_aborted, "{text}");
    }
}

/// The size of a frame: as much as the server gives to hyper at once.
const FRAME: usize = 64 * 1024;
/// The frames of a response that does not fit into the buffers of its sockets.
const FRAMES: usize = 256;

/// A body with frames that are ready, and then perhaps one that never is.
struct Frames {
    ready: usize,
    is_stuck: bool,
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ready == 0 {
            return match self.is_stuck {
                true => Poll::Pending,
                false => Poll::Ready(None),
            };
        }
        self.ready -= 1;
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; FRAME].into()))))
    }
}

/// The response to a client that closes its sending side as soon as the response begins, as `nc -N` may do.
async fn answer_after_close(body: fn() -> Body) -> String {
    let router = Router::new().route("/", get(async move || body()));
    let server = serve(router, 7);
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(REQUEST).await.expect("sent");
    stream.readable().await.expect("a response");
    stream.shutdown().await.expect("closed");
    let answer = tokio::time::timeout(Duration::from_secs(20), answer(&mut stream));
    answer.await.expect("the server closes the connection")
}

#[tokio::test]
async fn a_client_that_has_closed_its_sending_side_gets_the_whole_of_a_large_response() {
    let in_memory = answer_after_close(|| Body::from(vec![b'x'; FRAMES * FRAME])).await;
    let in_frames = answer_after_close(|| {
        Body::new(Frames {
            ready: FRAMES,
            is_stuck: false,
        })
    });
    for text in [in_memory, in_frames.await] {
        assert_eq!(text.matches('x').count(), FRAMES * FRAME);
    }
}

#[tokio::test]
async fn a_response_that_waits_for_the_service_ends_when_its_client_has_closed_its_sending_side() {
    let text = answer_after_close(|| {
        Body::new(Frames {
            ready: 1,
            is_stuck: true,
        })
    });
    assert!(text.await.starts_with("HTTP/1.1 200"));
}
