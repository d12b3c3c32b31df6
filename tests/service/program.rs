//! The service under test, and the means to start it as a process.
//!
//! It is a test of this file that is otherwise ignored, run in a process of its own.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Query, Request, WebSocketUpgrade};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get as on_get, post};
use axum::{Json, Router};
use axum_chassis::config::{File, FileFormat};
use axum_chassis::logs::AccessFields;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration as Human, Validate};
use axum_chassis::shutdown::Shutdown;
use axum_chassis::{Chassis, ClientAddress, Problem, RoutePolicy, Service, trace};
use axum_chassis_testing::{self as testing, Ended, Process};
use http_body::Frame;
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower::service_fn;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{self, Layer};

use crate::client::get;

/// Timeout of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A token for the admin listener.
pub(crate) const TOKEN: &str = "0123456789abcdef";

/// The header that has it.
pub(crate) fn bearer() -> (&'static str, &'static str) {
    ("authorization", "Bearer 0123456789abcdef")
}

/// Before it comes what the test harness says on the same output.
const BEGIN: &str = "--- the program ---";

// --- the program ---

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    // Past the test harness's own words.
    println!("{BEGIN}");
    let mut service = crate::extended(Service::<Settings>::new("subject", "1.2.3"))
        .revision("abc123")
        .outer_layer(map_response(outer))
        .arguments(
            std::env::var("ARGUMENTS")
                .unwrap_or_default()
                .split_whitespace(),
        );
    if let Ok(file) = std::env::var("SOURCE") {
        service = service.source(File::new(&file, FileFormat::Json));
    }
    if let Ok(filter) = std::env::var("OTHER") {
        service = match filter.parse::<LevelFilter>() {
            Ok(level) => service.tracing_layer(Other.with_filter(level)),
            Err(_) => service.tracing_layer(Other),
        };
    }
    let code = service
        .command("migrate", "Applies the migrations", migrate)
        .command("listen", "Runs until shutdown", async |chassis| {
            prepare(&chassis).await?;
            tracing::info!("listens");
            chassis.shutdown().stopping().await;
            Ok(())
        })
        .command("stubborn", "Runs for ever", async |_| {
            tracing::info!("runs");
            std::future::pending().await
        })
        .run(start);
    // Past the test harness, so that its words do not mix with the log.
    // An exit code's number is only visible in `Debug`.
    let number: String = format!("{code:?}")
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    std::process::exit(number.parse().expect("an exit code"));
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    subject: Subject,
}

impl Validate for Settings {}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Subject {
    /// The duration of the start.
    start: Human,
    /// Whether the start fails.
    broken: bool,
    /// Whether the dependency fails from the start.
    down: bool,
    /// Why the program asks for its own stop during the start.
    stop: Option<String>,
    /// The hooks to register, such as `fine,hangs`.
    hooks: Vec<String>,
    /// The background tasks to start, such as `polite,hangs`.
    tasks: Vec<String>,
    /// The address of what the start waits for.
    needs: Option<String>,
    /// Can change while the service runs.
    #[serde(alias = "salute")]
    #[schemars(extend("x-aliases" = ["salute"]))]
    greeting: String,
}

/// The state of the dependency: 0 answers, 1 fails, 2 hangs.
static DEPENDENCY: AtomicU8 = AtomicU8::new(0);

async fn start(chassis: Chassis<Settings>) -> anyhow::Result<Router> {
    let subject = chassis.settings().subject.clone();
    prepare(&chassis).await?;
    tokio::time::sleep(*subject.start).await;
    if subject.broken {
        return Err(anyhow::anyhow!("connection refused").context("the store cannot be opened"));
    }
    DEPENDENCY.store(subject.down.into(), Ordering::Relaxed);
    chassis.readiness().check("dependency", async || {
        match DEPENDENCY.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err("refused"),
            _ => std::future::pending().await,
        }
    });
    chassis.on_error(|error| {
        let refused = error.downcast_ref::<std::io::Error>()?;
        match refused.kind() {
            std::io::ErrorKind::ConnectionRefused => Some(
                Problem::unavailable("the store cannot be reached")
                    .retry_after(Duration::from_millis(1500)),
            ),
            std::io::ErrorKind::AlreadyExists => Some(Problem::conflict("it is there already")),
            std::io::ErrorKind::Other => panic!("a meaning's panic"),
            _ => None,
        }
    });
    if std::env::var_os("OBSERVED").is_some() {
        chassis.observe(Panicking);
        chassis.observe(Printing);
    }
    let settings = chassis.watch();
    let shutdown = chassis.shutdown().clone();
    let stop = async move |reason: String| chassis.stop(reason);
    Ok(Router::new()
        .route("/stop", post(stop))
        .nest("/policy", policies())
        .route("/levels/{filter}", on_get(levels))
        .route("/", on_get(async || "hello"))
        .route(
            "/greeting",
            on_get(async move || settings.borrow().subject.greeting.clone()),
        )
        .route(
            "/client",
            on_get(async |ClientAddress(client): ClientAddress| client.to_string()),
        )
        .route("/sleep/{ms}", on_get(sleep))
        .route("/block/{ms}", on_get(block))
        .route("/onward", on_get(onward))
        .route("/panic", on_get(panics))
        .route("/fail", on_get(fails))
        .route("/error/{kind}", on_get(error))
        .route(
            "/text",
            on_get(async || {
                (
                    http::StatusCode::INTERNAL_SERVER_ERROR,
                    "password is hunter2",
                )
            }),
        )
        .route("/json", post(async |Json(value): Json<Pair>| Json(value)))
        .route(
            "/query",
            on_get(async |Query(pair): Query<Pair>| Json(pair)),
        )
        .route(
            "/number/{number}",
            on_get(async |Path(number): Path<u32>| number.to_string()),
        )
        .route("/bytes", post(async |body: Bytes| body.len().to_string()))
        .route("/slowly/{ms}", post(slowly))
        .route("/discard", post(discard))
        .route(
            "/later",
            post(async |body: Body| {
                tokio::spawn(discard(body));
            }),
        )
        .route("/endless", on_get(async || Body::new(Endless::default())))
        .route(
            "/polite",
            on_get(async move || {
                shutdown.stopping().await;
                "the service stops"
            }),
        )
        .route(
            "/socket",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(async |mut socket| while socket.recv().await.is_some() {})
            }),
        )
        .nest_service("/nested", service_fn(nested))
        .route("/told/{bytes}", on_get(told))
        .route("/untold/{bytes}", on_get(untold))
        .route(
            "/memory/{bytes}",
            on_get(async |Path(bytes): Path<usize>| vec![b'x'; bytes]),
        )
        .route("/range", on_get(range))
        .route("/trailers", on_get(async || Body::new(Trailers(0))))
        .route("/status/{status}", on_get(status))
        .route("/large", on_get(async || vec![b'x'; 64 * 1024 * 1024]))
        .route(
            "/dependency/{state}",
            post(async |Path(state): Path<u8>| {
                DEPENDENCY.store(state, Ordering::Relaxed);
            }),
        ))
}

#[derive(Serialize, Deserialize)]
struct Pair {
    name: String,
    number: u32,
}

async fn sleep(Path(ms): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    format!("slept {ms} ms")
}

/// A service that is not a router, such as tower-http's `ServeDir`.
async fn nested(request: Request) -> Result<Response, Infallible> {
    Ok(request.uri().path().to_owned().into_response())
}

/// Adds an outer layer's header to all responses.
async fn outer(mut response: Response) -> Response {
    let outer = http::HeaderValue::from_static("here");
    response.headers_mut().insert("x-outer", outer);
    response
}

/// A file's body: a stream, and a length in the head.
async fn told(Path(bytes): Path<usize>) -> impl IntoResponse {
    ([(http::header::CONTENT_LENGTH, bytes)], stream(bytes))
}

async fn untold(Path(bytes): Path<usize>) -> Body {
    stream(bytes)
}

async fn range() -> impl IntoResponse {
    let range = "bytes 10-39/1000";
    let headers = [
        (http::header::CONTENT_RANGE, range.to_owned()),
        (http::header::CONTENT_LENGTH, "30".to_owned()),
    ];
    (http::StatusCode::PARTIAL_CONTENT, headers, stream(30))
}

async fn status(Path(status): Path<u16>) -> http::StatusCode {
    http::StatusCode::from_u16(status).expect("a status")
}

/// Five bytes and trailers, as gRPC has them.
struct Trailers(u8);

impl HttpBody for Trailers {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0 += 1;
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"hello")))),
            2 => Some(Ok(Frame::trailers(http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-status"),
                http::HeaderValue::from_static("0"),
            )])))),
            _ => None,
        })
    }
}

/// So many bytes, a few at a time, and not known to be so many.
fn stream(bytes: usize) -> Body {
    struct Pieces(usize);
    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            let piece = self.0.min(1000);
            self.0 -= piece;
            Poll::Ready((piece > 0).then(|| Ok(Frame::data(Bytes::from(vec![b'x'; piece])))))
        }
    }
    Body::new(Pieces(bytes))
}

/// Has all of the body in memory while it waits.
async fn slowly(Path(ms): Path<u64>, body: Bytes) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    body.len().to_string()
}

/// Keeps nothing of the body.
async fn discard(mut body: Body) -> String {
    let mut bytes = 0;
    let mut next = |context: &mut Context<'_>| Pin::new(&mut body).poll_frame(context);
    while let Some(Ok(frame)) = std::future::poll_fn(&mut next).await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes.to_string()
}

/// Blocks the thread, which no handler should do.
async fn block(Path(ms): Path<u64>) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Returns the headers that this service would add to a request to another one.
#[tracing::instrument]
async fn onward() -> Json<Map<String, Value>> {
    let ids = trace::current().expect("a request's ids");
    let elsewhere = tokio::spawn(trace::scope(ids, lookup("elsewhere")));
    lookup("here").await;
    elsewhere.await.expect("no panic");
    let mut headers = http::HeaderMap::new();
    trace::inject(&mut headers);
    let text = |value: &http::HeaderValue| value.to_str().expect("ASCII").into();
    Json(
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
    )
}

#[tracing::instrument]
async fn lookup(place: &str) {
    tokio::task::yield_now().await;
    tracing::info!("looked up");
}

/// Logs an event a level. The span is for those who look closely.
#[tracing::instrument(level = "debug", fields(inner = 7))]
async fn levels(Path(filter): Path<String>) {
    tracing::warn!("warn at {filter}");
    tracing::info!("info at {filter}");
    tracing::debug!("debug at {filter}");
    tracing::trace!("trace at {filter}");
}

async fn panics() {
    panic!("a handler's panic");
}

async fn fails() -> Result<(), Problem> {
    let inner = anyhow::anyhow!("password hunter2 was refused");
    Err(inner.context("the database cannot be reached"))?
}

/// Returns an error with `?`, as handlers do when their store fails.
async fn error(Path(kind): Path<String>) -> Result<(), Problem> {
    let kind = match &*kind {
        "refused" => std::io::ErrorKind::ConnectionRefused,
        "exists" => std::io::ErrorKind::AlreadyExists,
        "panics" => std::io::ErrorKind::Other,
        _ => std::io::ErrorKind::NotFound,
    };
    let inner = std::io::Error::new(kind, "INSERT INTO orders");
    Err(anyhow::Error::from(inner).context("the order cannot be kept"))?
}

/// The part that service and commands share: dependencies, hooks, background tasks.
async fn prepare(chassis: &Chassis<Settings>) -> anyhow::Result<()> {
    let subject = chassis.settings().subject.clone();
    if let Some(address) = subject.needs {
        chassis
            .wait_for("store", async || {
                Ok(tokio::net::TcpStream::connect(&address).await?)
            })
            .await?;
    }
    if let Some(reason) = subject.stop {
        chassis.stop(reason);
    }
    for hook in subject.hooks {
        chassis.on_stop(hook.clone(), async move || {
            tracing::info!(hook, "hook runs");
            match hook.as_str() {
                "hangs" => std::future::pending().await,
                "blocks" => std::thread::sleep(Duration::from_secs(60)),
                "fails" => anyhow::bail!("the hook failed"),
                _ => {}
            }
            Ok(())
        });
    }
    for task in subject.tasks {
        chassis.spawn(task.clone(), move |shutdown| work(task.clone(), shutdown));
    }
    Ok(())
}

async fn work(task: String, shutdown: Shutdown) -> anyhow::Result<()> {
    match task.as_str() {
        "done" => return Ok(()),
        "fails" => anyhow::bail!("no connection to <b>the queue</b>"),
        "panics" => panic!("a task's panic"),
        "speechless" => return Err(Speechless.into()),
        "hangs" => std::future::pending().await,
        _ => shutdown.stopping().await,
    }
    tracing::info!(task, "task ends");
    Ok(())
}

/// An error that cannot be put into words.
#[derive(Debug)]
struct Speechless;

impl fmt::Display for Speechless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("an error's panic");
    }
}

impl std::error::Error for Speechless {}

async fn migrate(chassis: Chassis<Settings>) -> anyhow::Result<()> {
    prepare(&chassis).await?;
    let greeting = &chassis.settings().subject.greeting;
    anyhow::ensure!(!chassis.settings().subject.broken, "the table is locked");
    tracing::info!(greeting, "migrated");
    Ok(())
}

/// An event stream that has an event now and then, and no end.
#[derive(Default)]
struct Endless(Option<Pin<Box<tokio::time::Sleep>>>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let pause = || Box::pin(tokio::time::sleep(Duration::from_millis(50)));
        if let Some(sleep) = &mut self.0
            && sleep.as_mut().poll(context).is_pending()
        {
            return Poll::Pending;
        }
        self.0 = Some(pause());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: tick\n\n")))))
    }
}

/// Routes with policies.
pub(crate) fn policies() -> Router {
    let policy = RoutePolicy::new;
    let long = policy().timeout(Duration::from_secs(3600));
    let short = policy().timeout(Duration::from_millis(200));
    // It waits for something before the policy is known.
    let waits = from_fn(async |request: Request, next: Next| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        next.run(request).await
    });
    let two = policy().concurrency(2);
    let nested = Router::new()
        .route("/long/{ms}", on_get(sleep).layer(long.clone()))
        .route("/short/{ms}", on_get(sleep));
    Router::new()
        .route("/long/{ms}", on_get(sleep).layer(long.clone()).layer(waits))
        .route("/short/{ms}", on_get(sleep).layer(short.clone()))
        .route("/upload", post(discard).layer(long))
        .route("/poll/{ms}", on_get(sleep).layer(policy().no_timeout()))
        .route("/two/{ms}", on_get(sleep).layer(two.clone()))
        .route("/second/{ms}", on_get(sleep).layer(two.clone()))
        .route("/two/panic", on_get(panics).layer(two))
        .route(
            "/stream",
            on_get(async || Body::new(Endless::default())).layer(policy().concurrency(1)),
        )
        .route("/unlogged/{ms}", on_get(sleep).layer(policy().unlogged()))
        .nest("/nested", nested.layer(short))
}

/// Prints the begin and the end of each request to standard error.
struct Printing;

impl RequestObserver for Printing {
    type State = String;

    fn begin(&self, request: &mut RequestHead<'_>) -> String {
        let request = format!("{} {}", request.method(), request.uri().path());
        eprintln!("begins: {request}");
        request
    }

    fn end(&self, begun: String, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
        eprintln!(
            "ends: {} {} {}",
            request.method,
            request.path,
            request.status.as_u16()
        );
        fields.text("observed", &begun);
    }
}

/// Panics at the begin or the end of two paths.
struct Panicking;

impl RequestObserver for Panicking {
    type State = ();

    fn begin(&self, request: &mut RequestHead<'_>) {
        assert_ne!(request.uri().path(), "/number/13", "a panic at the begin");
    }

    fn end(&self, (): (), request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
        fields.boolean("before_panic", true);
        assert_ne!(request.path, "/number/14", "a panic at the end");
    }
}

/// Prints events to standard error, where Sentry's layer sends them to its server.
struct Other;

impl<S: Subscriber> Layer<S> for Other {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        event.record(&mut EventMessage);
    }
}

struct EventMessage;

impl Visit for EventMessage {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            eprintln!("other: {value:?}");
        }
    }
}

// --- starting it ---

/// The flags, variables and files to start the program with.
pub(crate) struct Setup {
    program: testing::Program,
    files: Option<u64>,
    socket: Option<OwnedFd>,
}

impl Default for Setup {
    fn default() -> Self {
        let program = testing::Program::new("/bin/sh")
            .timeout(2 * SOON)
            // The filter comes from files.
            .variable("RUST_LOG", "");
        Self {
            program,
            files: None,
            socket: None,
        }
    }
}

impl Setup {
    /// Sets a key of the settings, by its `APP__` variable.
    pub(crate) fn set(self, key: &str, value: impl ToString) -> Self {
        self.with(|program| program.set(key, value))
    }

    pub(crate) fn variable(self, name: &str, value: impl ToString) -> Self {
        self.with(|program| program.variable(name, value.to_string()))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.with(|program| program.header(name, value))
    }

    /// Starts it where `config/` is.
    pub(crate) fn folder(self, folder: &std::path::Path) -> Self {
        self.with(|program| program.folder(folder))
    }

    /// Sets the timeout of every wait.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        self.with(|program| program.timeout(timeout))
    }

    /// Gives it so many file descriptors.
    pub(crate) fn files(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }

    /// Passes it a socket as systemd does, as file descriptor 3.
    pub(crate) fn inherit(mut self, socket: OwnedFd) -> Self {
        fcntl_setfd(&socket, FdFlags::empty()).expect("a socket to inherit");
        self.socket = Some(socket);
        self
    }

    fn with(mut self, change: impl FnOnce(testing::Program) -> testing::Program) -> Self {
        self.program = change(self.program);
        self
    }

    /// Starts it, and waits for both of its listeners.
    pub(crate) fn start(self) -> Program {
        let process = self.launch();
        let main = process.main().address();
        let admin = process.admin().address();
        Program {
            process,
            main,
            admin,
        }
    }

    /// Runs it to its end with these flags.
    pub(crate) fn run(self, arguments: &str) -> Ended {
        let mut ended = self.variable("ARGUMENTS", arguments).launch().wait();
        let (_, own) = ended.stdout.split_once(BEGIN).expect("the program");
        ended.stdout = own[1..].to_owned();
        ended
    }

    /// Starts it without waiting for anything.
    pub(crate) fn launch(self) -> Process {
        let limit = self
            .files
            .map(|files| format!("ulimit -n {files}; "))
            .unwrap_or_default();
        let mut exec = "exec \"$0\" \"$@\"".to_owned();
        // The shell keeps its number. Not every `sh` takes file descriptors of two digits.
        if let Some(socket) = &self.socket {
            let number = socket.as_raw_fd();
            exec = format!("exec bash -c 'exec 3<&{number}; LISTEN_PID=$$ {exec}' \"$0\" \"$@\"");
        }
        self.program
            .arguments(["-c", &format!("{limit}{exec}")])
            .argument(std::env::current_exe().expect("this test"))
            .arguments([
                "--exact",
                "program::program",
                "--ignored",
                "--nocapture",
                "--quiet",
            ])
            .launch()
    }
}

/// The program, serving.
pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) main: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    /// SIGTERM, and its end: the exit code, and all of its log.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<Value>) {
        let ended = self.process.stop();
        (ended.code, ended.log)
    }

    /// One series of the metrics; 0 if there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let scrape = get(self.admin, "/metrics");
        let line = scrape
            .body
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// Asks again and again until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
