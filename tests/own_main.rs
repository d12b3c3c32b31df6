//! The listener in a program with its own `main`.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum_chassis::logs::AccessFields;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use axum_chassis::server::ListenSocket;
use axum_chassis::{BoundServer, Chassis, ChassisSettings, Error, Server, Stopped};
use axum_chassis_testing::Program;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tower::ServiceExt;

const SOON: Duration = Duration::from_secs(20);

/// On free ports of this machine, and without a proxy that has to notice the shutdown.
fn settings() -> ChassisSettings {
    let mut settings = ChassisSettings::default();
    for (host, port) in [
        (&mut settings.server.host, &mut settings.server.port),
        (&mut settings.admin.host, &mut settings.admin.port),
    ] {
        *host = "127.0.0.1".to_owned();
        *port = 0;
    }
    settings.shutdown.delay = Some(axum_chassis::settings::Duration::from_secs(0));
    settings
}

/// A server that stops when `stop` is sent or dropped.
fn bind(server: Server) -> (BoundServer, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel();
    let server = server.with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    (server.bind().unwrap(), stop)
}

fn server() -> (BoundServer, oneshot::Sender<()>) {
    bind(Server::new("links", "1.2.3").settings(settings()))
}

type Serving = JoinHandle<Result<Stopped, Error>>;

/// Serves a router, and waits until it listens.
async fn serve(server: BoundServer, router: Router) -> Serving {
    let chassis = server.chassis().clone();
    let serving = tokio::spawn(server.serve(router));
    eventually("started", || chassis.readiness().is_started()).await;
    serving
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ended(serving: Serving) -> Stopped {
    let ended = tokio::time::timeout(SOON, serving).await;
    ended.expect("an end in time").unwrap().unwrap()
}

/// Sends bytes, and reads until the other end closes.
async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    send(stream, &request(path)).await
}

/// A series of the metrics; 0 if there is none.
fn metric(chassis: &Chassis<()>, series: &str) -> f64 {
    let (_, text) = chassis.metrics().encode(None);
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn any_router_is_served_as_it_is() {
    let (server, stop) = server();
    let address = server.address().unwrap();
    let client = async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.ip().to_string();
    let serving = serve(server, Router::new().route("/", get(client))).await;
    let answer = ask(address, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    // Nothing of the chassis has been added.
    assert!(!answer.contains("x-request-id"), "{answer}");
    let answer = ask(address, "/health/readiness").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    stop.send(()).unwrap();
    assert!(ended(serving).await.is_graceful());
}

#[tokio::test]
async fn invalid_settings_made_in_code_are_refused_all_at_once() {
    let mut settings = settings();
    settings.admin.token = Some(String::new().into());
    settings.health.failures = 0;
    settings.health.successes = 0;
    settings.server.header_timeout = Duration::ZERO.into();
    settings.server.max_connections = Some(0);
    settings.server.max_headers = 1001;
    settings.server.max_streams = 0;
    settings.server.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()];
    settings.server.unix_socket_mode = Some("0o600".to_owned());
    let error = Server::new("links", "1.2.3").settings(settings).bind();
    let error = error.expect_err("invalid settings");
    assert!(matches!(error, Error::Settings(_)), "{error:?}");
    let errors = std::error::Error::source(&error).unwrap().to_string();
    let keys = errors.lines().map(|line| line.split_once(':').unwrap().0);
    let expected = [
        "server.header_timeout",
        "server.max_connections",
        "server.max_streams",
        "server.max_headers",
        "server.unix_socket_mode",
        "server.trusted_proxies",
        "admin.token",
        "health.failures",
        "health.successes",
    ];
    assert_eq!(keys.collect::<Vec<_>>(), expected, "{errors}");
    assert!(errors.contains("server.max_connections: must be at least 1\n"));
}

#[tokio::test]
async fn a_port_that_is_not_opened_may_have_the_number_of_the_other() {
    let mut settings = ChassisSettings::default();
    settings.server.port = settings.admin.port;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::new("links", "1.2.3").settings(settings);
    assert!(server.listener(listener).bind().is_ok());
}

#[tokio::test]
async fn slow_heads_invalid_hosts_and_garbage_are_refused_and_counted() {
    let mut settings = settings();
    settings.server.header_timeout = Duration::from_millis(200).into();
    let (server, _stop) = bind(Server::new("links", "1.2.3").settings(settings));
    let (address, chassis) = (server.address().unwrap(), server.chassis().clone());
    let _serving = serve(server, Router::new().route("/", get("hello"))).await;
    let connect = async || TcpStream::connect(address).await.unwrap();

    let begun = Instant::now();
    assert_eq!(send(connect().await, "GET / HT").await, "");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let two = "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n";
    let answer = send(connect().await, two).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    send(connect().await, "garbage\r\n\r\n").await;
    let refused = "http_server_refused_total{reason=\"malformed\"}";
    eventually("counted", || metric(&chassis, refused) == 1.0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_take_the_place_of_idle_ones() {
    let mut settings = settings();
    settings.server.max_connections = Some(1);
    let (server, _stop) = bind(Server::new("links", "1.2.3").settings(settings));
    let address = server.address().unwrap();
    let _serving = serve(server, Router::new().route("/", get("hello"))).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(request("/").replace("close", "keep-alive").as_bytes())
        .await
        .unwrap();
    idle.readable().await.unwrap();
    assert!(ask(address, "/").await.ends_with("hello"));
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

/// A route that answers once it is let go.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), go.clone());
    let handler = async move || {
        tell.notify_one();
        wait.notified().await;
        "held"
    };
    (Router::new().route("/held", get(handler)), begun, go)
}

#[tokio::test]
async fn a_shutdown_finishes_requests_tasks_and_hooks_and_accepts_nothing_new() {
    let (server, stop) = server();
    let (address, chassis) = (server.address().unwrap(), server.chassis().clone());
    let (done, closed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (is_done, is_closed) = (done.clone(), closed.clone());
    chassis.spawn("worker", move |shutdown| {
        let done = done.clone();
        async move {
            shutdown.stopping().await;
            done.store(true, Ordering::SeqCst);
            Ok(())
        }
    });
    chassis.on_stop("pool", async move || {
        closed.store(true, Ordering::SeqCst);
        Ok(())
    });
    let (router, begun, go) = held();
    let serving = serve(server, router).await;
    let asked = tokio::spawn(ask(address, "/held"));
    begun.notified().await;
    stop.send(()).unwrap();
    chassis.shutdown().stopping().await;
    eventually("refused", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!serving.is_finished() && !is_closed.load(Ordering::SeqCst));
    go.notify_one();
    assert!(asked.await.unwrap().ends_with("held"));
    assert!(ended(serving).await.is_graceful());
    assert!(is_done.load(Ordering::SeqCst) && is_closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn at_the_deadline_the_rest_is_aborted() {
    let mut settings = settings();
    settings.shutdown.deadline = Duration::from_millis(300).into();
    settings.shutdown.hook_timeout = Duration::from_millis(100).into();
    let (server, stop) = bind(Server::new("links", "1.2.3").settings(settings));
    let address = server.address().unwrap();
    let (router, begun, _) = held();
    let serving = serve(server, router).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request("/held").as_bytes()).await.unwrap();
    begun.notified().await;
    stop.send(()).unwrap();
    let stopped = ended(serving).await;
    assert_eq!(stopped.aborted, 1);
    assert!(!stopped.is_graceful());
}

#[tokio::test]
async fn the_program_itself_can_ask_for_the_shutdown() {
    let (server, _stop) = server();
    let chassis = server.chassis().clone();
    let serving = serve(server, Router::new()).await;
    chassis.stop("nothing left to do");
    assert!(ended(serving).await.is_graceful());
}

#[tokio::test]
async fn dropping_the_server_closes_its_listener_and_connections() {
    for has_admin in [false, true] {
        let server = Server::new("links", "1.2.3").settings(settings());
        let (server, _stop) = bind(match has_admin {
            true => server.admin(),
            false => server,
        });
        let address = server.address().unwrap();
        let worker = endless(server.chassis());
        let shutdown = server.chassis().shutdown().clone();
        let (router, begun, _) = held();
        let serving = serve(server, router).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request("/held").as_bytes()).await.unwrap();
        begun.notified().await;
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        // Closed without an answer.
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        assert_eq!(read.expect("closed").unwrap_or_default(), 0);
        eventually("refused", || std::net::TcpStream::connect(address).is_err()).await;
        worker.await;
        assert!(shutdown.is_stopping());
    }
}

/// Starts a task that ignores the shutdown, and returns a future that completes once the task is gone.
fn endless(chassis: &Chassis<()>) -> impl Future<Output = ()> + use<> {
    let (alive, mut ended) = mpsc::channel::<()>(1);
    chassis.spawn("endless", move |_| {
        let alive = alive.clone();
        async move {
            alive.closed().await;
            Ok(())
        }
    });
    async move {
        let ended = tokio::time::timeout(SOON, ended.recv()).await;
        assert!(ended.expect("an end of the task").is_none());
    }
}

#[tokio::test]
async fn dropping_a_server_that_does_not_serve_ends_its_tasks() {
    let (server, _stop) = server();
    let worker = endless(server.chassis());
    let shutdown = server.chassis().shutdown().clone();
    drop(server);
    worker.await;
    assert!(shutdown.is_stopping());
}

#[tokio::test]
async fn the_layer_the_health_routes_and_the_admin_port_belong_together() {
    let (server, stop) = bind(Server::new("links", "1.2.3").settings(settings()).admin());
    let (main, admin) = (server.address().unwrap(), server.admin_address().unwrap());
    let chassis = server.chassis().clone();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = up.clone();
    chassis.readiness().check("store", move || {
        let up = is_up.load(Ordering::SeqCst);
        async move {
            anyhow::ensure!(up, "refused");
            Ok(())
        }
    });
    // The admin port answers before there is anything to serve.
    let startup = ask(admin, "/health/startup").await;
    assert!(startup.starts_with("HTTP/1.1 503"), "{startup}");

    let routes = Router::new().route("/links/{id}", get("hello"));
    let routes = routes
        .layer(server.request_layer())
        .merge(server.health_routes());
    let serving = serve(server, routes).await;
    let answer = ask(main, "/links/7").await;
    assert!(answer.contains("x-request-id: "), "{answer}");
    for address in [main, admin] {
        let answer = ask(address, "/health/readiness").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    up.store(true, Ordering::SeqCst);
    eventually("ready", || chassis.readiness().is_ready()).await;
    for address in [main, admin] {
        let answer = ask(address, "/health/readiness").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let scrape = ask(admin, "/metrics").await;
    let counted = "http_response_status_code=\"200\",http_route=\"/links/{id}\"} 1";
    assert!(scrape.contains(counted), "{scrape}");
    assert!(
        scrape.contains("http_server_connections_total "),
        "{scrape}"
    );
    let version = ask(admin, "/version").await;
    assert!(
        version.contains("\"links\"") && version.contains("1.2.3"),
        "{version}"
    );
    stop.send(()).unwrap();
    assert!(ended(serving).await.is_graceful());
    eventually("refused", || std::net::TcpStream::connect(admin).is_err()).await;
}

/// Notes its name and the path of each request that begins.
struct Notes(&'static str, Arc<Mutex<Vec<String>>>);

impl RequestObserver for Notes {
    type State = ();

    fn begin(&self, request: &mut RequestHead<'_>) {
        let note = format!("{} {}", self.0, request.uri());
        self.1.lock().unwrap().push(note);
    }

    fn end(&self, (): (), _: &FinishedRequest<'_>, _: &mut AccessFields<'_>) {}
}

#[tokio::test]
async fn an_observer_of_a_layer_observes_the_requests_of_that_layer() {
    let (server, _stop) = server();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let observer = |name| Notes(name, notes.clone());
    let layer = server.request_layer();
    let routes = |path, layer| Router::new().route(path, get("hello")).layer(layer);
    let router = routes("/links", layer.clone().observe(observer("links")))
        .merge(routes(
            "/users",
            server.request_layer().observe(observer("users")),
        ))
        .merge(routes("/plain", layer));
    // Those of the service come first, also to layers that were there before.
    server.chassis().observe(observer("service"));
    for path in ["/links", "/users", "/plain"] {
        let request = axum::extract::Request::get(path).body(Body::empty());
        let answer = router.clone().oneshot(request.unwrap()).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(
        *notes.lock().unwrap(),
        [
            "service /links",
            "links /links",
            "service /users",
            "users /users",
            "service /plain",
        ]
    );
}

#[tokio::test]
async fn nothing_of_a_server_runs_on_after_it() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let unserved = Server::new("links", "1.2.3").settings(settings());
    let unserved = unserved.with_graceful_shutdown(std::future::pending());
    drop(unserved.bind().unwrap());
    let server = Server::new("links", "1.2.3").settings(settings()).admin();
    let server = server.with_graceful_shutdown(std::future::pending());
    let server = server.bind().unwrap();
    let chassis = server.chassis().clone();
    let serving = serve(server, Router::new()).await;
    chassis.stop("enough");
    assert!(ended(serving).await.is_graceful());
    eventually("ended", || tasks() == before).await;
}

#[tokio::test]
async fn a_server_whose_unix_socket_was_taken_before_it_listened_fails_and_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let mut settings = settings();
    settings.server.unix_socket = Some(path.clone());
    let server = || bind(Server::new("links", "1.2.3").settings(settings.clone()));
    let (first, _stop) = server();
    let (second, _stop) = server();
    let _serving = serve(second, Router::new().route("/", get("second"))).await;
    let served = tokio::time::timeout(SOON, first.serve(Router::new())).await;
    let error = served.expect("an error in time").unwrap_err();
    assert!(
        matches!(&error, Error::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse),
        "{error:?}"
    );
    let stream = UnixStream::connect(&path).await.unwrap();
    assert!(send(stream, &request("/")).await.ends_with("second"));
}

#[tokio::test]
async fn a_listener_of_the_programs_own_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, _stop) = bind(Server::new("links", "1.2.3").listener(listener));
    assert_eq!(server.address(), Some(address));
    let _serving = serve(server, Router::new().route("/", get("hello"))).await;
    assert!(ask(address, "/").await.ends_with("hello"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (server, stop) = bind(
        Server::new("links", "1.2.3")
            .settings(settings())
            .listener(listener),
    );
    assert_eq!(server.address(), None);
    let client = async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.to_string();
    let serving = serve(server, Router::new().route("/", get(client))).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let answer = send(stream, &request("/")).await;
    assert!(answer.ends_with("127.0.0.1:0"), "{answer}");
    stop.send(()).unwrap();
    assert!(ended(serving).await.is_graceful());
    assert!(path.exists(), "the file is the program's own");
}

#[tokio::test]
#[ignore = "a program that the next test runs"]
async fn program_that_binds_and_does_not_serve() {
    let server = Server::new("links", "1.2.3").settings(settings()).admin();
    let _server = server.bind().unwrap();
    println!("\nbound");
    tokio::time::sleep(SOON).await;
}

#[test]
#[ignore = "a program that the next test runs"]
fn program_that_takes_its_socket_before_it_has_a_runtime() {
    let socket = ListenSocket::inherited().unwrap().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stopped = runtime.block_on(async {
        let server = Server::new("links", "1.2.3").settings(settings());
        let server = server.listener(socket).bind().unwrap();
        server.serve(Router::new().route("/", get("hello"))).await
    });
    assert!(stopped.unwrap().is_graceful());
}

fn terminate(program: &Child) {
    let pid = rustix::process::Pid::from_child(program);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn an_inherited_socket_is_taken_before_there_is_a_runtime() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let name = "program_that_takes_its_socket_before_it_has_a_runtime";
    let mut program = Command::new("sh")
        .args(["-c", "exec \"$@\" 3<&0", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("LISTEN_FDS", "1")
        .stdin(OwnedFd::from(socket))
        .spawn()
        .unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.write_all(request("/").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    terminate(&program);
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_signal_before_the_server_serves_ends_the_process() {
    let name = "program_that_binds_and_does_not_serve";
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "bound"));
    terminate(&program);
    assert_eq!(program.wait().unwrap().signal(), Some(15));
}

#[test]
fn the_example_serves_on_both_ports_until_sigterm() {
    let test = std::env::current_exe().unwrap();
    let example: PathBuf = test.ancestors().nth(2).unwrap().join("examples/parts");
    assert!(example.exists(), "first: cargo build --example parts");
    let program = Program::new(example).start();
    let answer = program.get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("x-request-id"));
    assert_eq!(program.get("/health/readiness").status, 200);
    assert_eq!(program.admin().get("/metrics").status, 200);
    let config = program.admin().get("/config");
    assert!(config.text().contains("APP__SERVER__PORT"), "{config:?}");
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.message("request")["route"], "/");
    assert_eq!(ended.stopped()["aborted"], 0);
}
