//! The service under test, and the means to start it as a process.
//!
//! It is a test of this file that is otherwise ignored, run in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Query, WebSocketUpgrade};
use axum::routing::{any, get as on_get, post};
use axum::{Json, Router};
use axum_chassis::config::{File, FileFormat};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration as Human, Validate};
use axum_chassis::shutdown::Shutdown;
use axum_chassis::{Chassis, Problem, Service, trace};
use http_body::Frame;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::get;

/// How long anything may take that is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Before it comes what the test harness says on the same output.
const BEGIN: &str = "--- the program ---";

// --- the program ---

#[test]
#[ignore = "a program that other tests run"]
fn program() {
    // Past the test harness's own words.
    println!("{BEGIN}");
    let mut service = Service::<Settings>::new("subject", "1.2.3")
        .build(Some("abc123"), None)
        .arguments(
            std::env::var("ARGUMENTS")
                .unwrap_or_default()
                .split_whitespace(),
        );
    if let Ok(file) = std::env::var("SOURCE") {
        service = service.source(File::new(&file, FileFormat::Json));
    }
    let code = service
        .command("migrate", "Applies the migrations", migrate)
        .command("listen", "Runs until it is told to stop", async |chassis| {
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
    // An exit code tells its number to nobody but a `Debug` reader.
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
    /// How long the start takes.
    start: Human,
    /// Whether the start fails.
    broken: bool,
    /// What hooks to register, such as `fine,hangs`.
    hooks: Vec<String>,
    /// What background tasks to start, such as `polite,hangs`.
    tasks: Vec<String>,
    /// The address of what the start waits for.
    needs: Option<String>,
    /// Can change while the service runs.
    #[serde(alias = "salute")]
    #[schemars(extend("x-aliases" = ["salute"]))]
    greeting: String,
}

/// What the dependency does: 0 answers, 1 fails, 2 hangs.
static DEPENDENCY: AtomicU8 = AtomicU8::new(0);

async fn start(chassis: Chassis<Settings>) -> anyhow::Result<Router> {
    let subject = chassis.settings().subject.clone();
    prepare(&chassis).await?;
    tokio::time::sleep(*subject.start).await;
    if subject.broken {
        return Err(anyhow::anyhow!("connection refused").context("the store cannot be opened"));
    }
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
    let settings = chassis.watch();
    let shutdown = chassis.shutdown().clone();
    Ok(Router::new()
        .route("/", on_get(async || "hello"))
        .route(
            "/greeting",
            on_get(async move || settings.borrow().subject.greeting.clone()),
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

/// What no handler should do.
async fn block(Path(ms): Path<u64>) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// What a service that is called on behalf of this request would be sent.
#[tracing::instrument]
async fn onward() -> Json<Map<String, Value>> {
    let ids = trace::current().expect("a request's ids");
    let elsewhere = tokio::spawn(trace::scope(ids, lookup("elsewhere")));
    lookup("here").await;
    elsewhere.await.expect("no panic");
    let mut headers = http::HeaderMap::new();
    trace::pass_on(&mut headers);
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

async fn panics() {
    panic!("a handler's panic");
}

async fn fails() -> Result<(), Problem> {
    let inner = anyhow::anyhow!("password hunter2 was refused");
    Err(inner.context("the database cannot be reached"))?
}

/// What handlers return by `?` when their store is in trouble.
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

/// What service and commands have in common: what they wait for, hooks, background tasks.
async fn prepare(chassis: &Chassis<Settings>) -> anyhow::Result<()> {
    let subject = chassis.settings().subject.clone();
    if let Some(address) = subject.needs {
        chassis
            .wait_for("store", async || {
                Ok(tokio::net::TcpStream::connect(&address).await?)
            })
            .await?;
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
        "hangs" => std::future::pending().await,
        _ => shutdown.stopping().await,
    }
    tracing::info!(task, "task ends");
    Ok(())
}

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

// --- starting it ---

/// How the program is to be started.
#[derive(Default)]
pub(crate) struct Setup {
    variables: Vec<(String, String)>,
    folder: Option<std::path::PathBuf>,
    files: Option<u64>,
}

impl Setup {
    /// Sets a key of the settings, by its `APP__` variable.
    pub(crate) fn set(self, key: &str, value: impl ToString) -> Self {
        let name = format!("APP__{}", key.to_uppercase().replace('.', "__"));
        self.variable(&name, value)
    }

    pub(crate) fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts it where `config/` is.
    pub(crate) fn folder(mut self, folder: &std::path::Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Gives it so many file descriptors.
    pub(crate) fn files(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }

    /// Starts it, and waits for both of its listeners.
    pub(crate) fn start(self) -> Program {
        let mut process = self.launch();
        let main = process.listener("main");
        let admin = process.listener("admin");
        Program {
            process,
            main,
            admin,
        }
    }

    /// Runs it to its end with these flags: the exit code, and what it said.
    pub(crate) fn run(self, arguments: &str) -> Said {
        let mut command = self.variable("ARGUMENTS", arguments).command();
        let output = command.stderr(Stdio::piped()).output().expect("a shell");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let stdout = text(output.stdout);
        Said {
            code: output.status.code(),
            stdout: stdout.split_once(BEGIN).expect("the program's own words").1[1..].to_owned(),
            stderr: text(output.stderr),
        }
    }

    /// Starts it without waiting for anything.
    pub(crate) fn launch(self) -> Process {
        let mut command = self.command();
        Process::watch(command.stderr(Stdio::null()).spawn().expect("a shell"))
    }

    fn command(self) -> Command {
        let mut command = Command::new("/bin/sh");
        let limit = self
            .files
            .map(|files| format!("ulimit -n {files}; "))
            .unwrap_or_default();
        command
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "program::program",
                "--ignored",
                "--nocapture",
                "--quiet",
            ])
            .envs([
                ("LOG_FORMAT", "json"),
                ("APP__SERVER__HOST", "127.0.0.1"),
                ("APP__SERVER__PORT", "0"),
                ("APP__ADMIN__HOST", "127.0.0.1"),
                ("APP__ADMIN__PORT", "0"),
            ])
            .envs(self.variables)
            .stdout(Stdio::piped());
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// What a process that has ended said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process and its log. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    lines: Vec<Value>,
    more: mpsc::Receiver<Value>,
    /// Whoever holds it keeps the log from being read.
    gate: Arc<Mutex<()>>,
}

impl Process {
    fn watch(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, more) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let passed = gate.clone();
        std::thread::spawn(move || {
            // The test harness has its say on the same output.
            let lines = stdout
                .lines()
                .map_while(Result::ok)
                .filter(|line| line.starts_with('{'));
            for line in lines {
                drop(passed.lock());
                let line =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let _ = send.send(line);
            }
        });
        Self {
            child,
            lines: Vec::new(),
            more,
            gate,
        }
    }

    fn listener(&mut self, name: &str) -> SocketAddr {
        let line = self.line(|line| line["message"] == "listening" && line["listener"] == name);
        line["address"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .expect("an address")
    }

    /// The first line of the log that is wanted; waits for it.
    pub(crate) fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.lines.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.more.recv_timeout(left) else {
                panic!("no such line in the log:\n{:#?}", self.lines);
            };
            self.lines.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// The line with this message.
    pub(crate) fn message(&mut self, message: &str) -> Value {
        self.line(|line| line["message"] == message)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("a process that runs");
    }

    /// Until the guard is dropped, nobody reads what the process logs.
    pub(crate) fn gate(&self) -> Arc<Mutex<()>> {
        self.gate.clone()
    }

    /// How many lines of the log have been read.
    pub(crate) fn read(&mut self) -> usize {
        self.lines.extend(self.more.try_iter());
        self.lines.len()
    }

    /// Waits for its end: the exit code, and all of its log.
    pub(crate) fn wait(mut self) -> (Option<i32>, Vec<Value>) {
        let deadline = Instant::now() + 2 * SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "the process does not end:\n{:#?}",
                self.drain()
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        (status.code(), self.drain().to_vec())
    }

    fn drain(&mut self) -> &[Value] {
        // Ends with the reader, which ends with the process's output.
        while let Ok(line) = self.more.recv_timeout(Duration::from_millis(500)) {
            self.lines.push(line);
        }
        &self.lines
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number");
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

    /// SIGTERM, and its end.
    pub(crate) fn stop(self) -> (Option<i32>, Vec<Value>) {
        self.process.signal(Signal::TERM);
        self.process.wait()
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
