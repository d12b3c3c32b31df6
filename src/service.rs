//! [`Service`], which runs in `main`; [`Chassis`], which the service's own start and its commands receive; and
//! [`Running`], a service that runs inside a test.

mod chassis;
mod collectors;
mod command;
mod exporter;
mod follow;
mod own_main;
mod process;
mod reload;
mod retry;
mod start;
mod stop;
mod teardown;
mod test_chassis;

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::settings::config::Source;
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use tokio::sync::{mpsc, oneshot};
use tower::Layer;
use tracing_subscriber::Registry;

pub use self::chassis::Chassis;
use self::command::Command;
pub use self::exporter::Exporter;
use self::exporter::Telemetry;
pub use self::own_main::{BoundServer, Server};
pub use self::test_chassis::TestChassis;
use crate::cli::{self, Operation};
use crate::error::Error;
use crate::settings::{SettingsSchema, Sources};
use crate::shared::{Build, UNKNOWN};

/// Builds and runs a service. `S` is the struct of the service's own settings, or `()`.
#[must_use = "a service does nothing until it runs"]
pub struct Service<S = ()> {
    build: Build,
    arguments: Option<Vec<OsString>>,
    /// The sources that [`Service::source`] added.
    sources: Sources,
    commands: Vec<Command<S>>,
    outer: Outer,
    telemetry: Telemetry,
}

/// Returns `unknown` for a build argument that is missing or empty.
fn known(value: Option<&'static str>) -> &'static str {
    value.filter(|value| !value.is_empty()).unwrap_or(UNKNOWN)
}

/// Layers around all responses of the main listener, the innermost first.
#[derive(Default)]
struct Outer(Vec<Box<dyn Fn(Router) -> Router>>);

impl Outer {
    fn around(&self, router: Router) -> Router {
        let layers = self.0.iter();
        layers.fold(router, |router, layer| layer(router))
    }
}

impl<S: SettingsSchema> Service<S> {
    /// Creates a service with a name and a version. Pass `env!("CARGO_PKG_NAME")` and
    /// `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            build: Build::new(name, version),
            arguments: None,
            sources: Sources::empty(),
            commands: Vec::new(),
            outer: Outer::default(),
            telemetry: Telemetry::default(),
        }
    }

    /// Sets the commit that was built, for `/version` and `build_info`. Pass `option_env!("REVISION")`: the Dockerfiles
    /// set this variable.
    pub fn revision(mut self, revision: impl Into<Option<&'static str>>) -> Self {
        self.build.revision = known(revision.into());
        self
    }

    /// Sets the time of the build, for `/version`. Pass `option_env!("CREATED")`: the Dockerfiles set this variable.
    pub fn built_at(mut self, time: impl Into<Option<&'static str>>) -> Self {
        self.build.created = known(time.into());
        self
    }

    /// Parses these arguments instead of those of the process, for a program with its own command line.
    pub fn arguments<I: IntoIterator<Item: Into<OsString>>>(mut self, arguments: I) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a source of settings. Its values override those of the files, and are overridden by secrets, environment
    /// variables and flags. Of several sources, the last wins. A source can be a file in another format, for which the
    /// crate `config` has features:
    ///
    /// ```
    /// use axum_chassis::config::{File, FileFormat};
    ///
    /// let service = axum_chassis::Service::<()>::new("orders", "1.0.0")
    ///     .source(File::new("config/orders.yaml", FileFormat::Yaml));
    /// ```
    ///
    /// or a source of your own, such as a key-value store:
    ///
    /// ```
    /// use axum_chassis::config::{ConfigError, Map, Source, Value};
    ///
    /// #[derive(Clone, Debug)]
    /// struct Consul {
    ///     prefix: &'static str,
    /// }
    ///
    /// impl Source for Consul {
    ///     fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
    ///         Box::new(self.clone())
    ///     }
    ///
    ///     fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
    ///         let found = ask(self.prefix).map_err(|error| ConfigError::Foreign(error.into()))?;
    ///         let values = found.into_iter().map(|(key, text)| {
    ///             let origin = format!("consul {}/{key}", self.prefix);
    ///             (key.replace('/', "."), Value::new(Some(&origin), text))
    ///         });
    ///         Ok(values.collect())
    ///     }
    /// }
    ///
    /// # fn ask(_: &str) -> std::io::Result<Vec<(String, String)>> {
    /// #     Ok(vec![("limits/body".into(), "1MiB".into())])
    /// # }
    /// let sources = axum_chassis::settings::Sources::empty().source(Consul { prefix: "orders" });
    /// let loaded = axum_chassis::settings::load::<axum_chassis::ChassisSettings, ()>(&sources)?;
    /// assert_eq!(loaded.framework.limits.body.to_string(), "1MiB");
    /// assert_eq!(loaded.effective.origin("limits.body"), Some("consul orders/limits/body"));
    /// # Ok::<(), axum_chassis::settings::Invalid>(())
    /// ```
    ///
    /// The values of a source are validated like all others, and shown with their origins. If a value has no origin,
    /// the name of the source's type is shown. Values whose origin begins with `secret ` are always redacted. Dots in a
    /// key separate sections, and text is converted to the type of its key, as in environment variables.
    ///
    /// If a source fails at the start, this is a settings error (exit code 78). While the service runs, files and
    /// sources are read again every five seconds. If this fails, the failure is logged and counted, and the old
    /// settings stay in force. A source runs on a thread of its own, where it may block. The start waits for it, so use
    /// a timeout. The first line of its error is printed or logged, so keep secrets out of the error.
    pub fn source(mut self, source: impl Source + Send + Sync + 'static) -> Self {
        self.sources = self.sources.source(source);
        self
    }

    /// Adds a one-off command, such as a migration, a backfill or a scheduled job. It is run by the same program with
    /// the command's name as its argument, such as `orders migrate`.
    ///
    /// ```no_run
    /// # use axum_chassis::{Chassis, Service};
    /// # async fn apply(_: &Chassis<()>) -> anyhow::Result<usize> { Ok(0) }
    /// let service = Service::<()>::new("orders", "1.0.0")
    ///     .command("migrate", "Applies the migrations", async |chassis| {
    ///         let applied = apply(&chassis).await?;
    ///         tracing::info!(applied, "migrated");
    ///         Ok(())
    ///     });
    /// ```
    ///
    /// A command has the settings, the log, the stores and the background tasks of the service. It has no listeners,
    /// and `service.start_timeout` does not limit it. Its parameters come from settings, so `--set` works for them.
    /// `--help` lists all commands.
    ///
    /// The exit code is 0 if the command returns `Ok`, 1 if it fails, and 78 if the settings are invalid. SIGTERM
    /// triggers [`Chassis::shutdown`]. At `shutdown.deadline`, or at a second signal, the command is aborted, and the
    /// exit code is 1. Blocking work belongs in `spawn_blocking`, because blocking code here cannot be aborted.
    pub fn command(
        mut self,
        name: &'static str,
        about: &'static str,
        run: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<()> + 'static,
    ) -> Self {
        self.commands.push(Command::new(name, about, run));
        self
    }

    /// Adds middleware around all responses of the main listener: the routes, the health routes, and the chassis's
    /// own responses, such as a 503 of load shedding. Use it for headers that each response
    /// needs, such as those of CORS. If you add several layers, the last one is the outermost.
    ///
    /// [The order of all layers](https://github.com/axum-chassis/axum-chassis/blob/main/docs/middleware.md) is in
    /// `docs/middleware.md`. A response that an outer layer creates itself (such as that to a preflight request) is
    /// neither logged nor counted, and has no request ID.
    ///
    /// ```
    /// use axum::response::Response;
    /// use http::HeaderValue;
    /// # use axum::extract::Request;
    /// # use axum::middleware::{Next, from_fn};
    ///
    /// async fn nosniff(request: Request, next: Next) -> Response {
    ///     let mut response = next.run(request).await;
    ///     let nosniff = HeaderValue::from_static("nosniff");
    ///     response.headers_mut().insert("x-content-type-options", nosniff);
    ///     response
    /// }
    ///
    /// let service = axum_chassis::Service::<()>::new("orders", "1.0.0").outer_layer(from_fn(nosniff));
    /// ```
    pub fn outer_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: tower::Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as tower::Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as tower::Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as tower::Service<Request>>::Future: Send + 'static,
    {
        self.outer
            .0
            .push(Box::new(move |router| router.layer(layer.clone())));
        self
    }

    /// Adds a `tracing` layer in addition to the chassis's log, such as the layer of Sentry or tokio-console.
    ///
    /// ```
    /// use tracing_subscriber::filter::LevelFilter;
    /// use tracing_subscriber::layer::{Identity, Layer};
    ///
    /// let sentry = Identity::new(); // sentry_tracing::layer()
    /// let service = axum_chassis::Service::<()>::new("orders", "1.0.0")
    ///     .tracing_layer(sentry.with_filter(LevelFilter::INFO));
    /// ```
    ///
    /// Give the layer a filter: a layer without a filter receives every span and event of the process, because
    /// `logs.filter` and `PUT /log` apply to log lines and exported spans only. Access lines and records of the `log`
    /// crate are not `tracing` events, so the layer does not receive them. [`Service::start`], for tests, ignores these
    /// layers.
    pub fn tracing_layer(
        mut self,
        layer: impl tracing_subscriber::Layer<Registry> + Send + Sync + 'static,
    ) -> Self {
        self.telemetry.layers.push(Box::new(layer));
        self
    }

    /// Adds an exporter of telemetry: `.export(axum_chassis_otlp::Otlp::from_env)` exports traces, metrics and logs.
    ///
    /// `load` receives the service's name and version. It reads and validates the exporter's configuration, such as
    /// environment variables. If it returns an [`Error::Settings`], this is reported together with all other errors in
    /// the settings, with exit code 78, and also by `--check-config`. Commands export as well. [`Service::start`], for
    /// tests, ignores exporters.
    pub fn export<E: Exporter>(
        mut self,
        load: impl Fn(&'static str, &'static str) -> Result<E, Error> + 'static,
    ) -> Self {
        self.telemetry.export(load);
        self
    }

    /// Runs the whole process, in this order: flags, settings, logs, the admin listener, the runtime, `start`, the
    /// main listener, and the graceful shutdown on SIGTERM or SIGINT.
    ///
    /// `start` returns the service's routes. It runs inside the runtime; meanwhile liveness is 200 and readiness is
    /// 503. The exit code is 0 after a graceful shutdown, 78 if the settings are invalid, and 1 if the start failed or
    /// the shutdown had to abort something.
    pub fn run(self, start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>) -> ExitCode {
        let given = self
            .arguments
            .unwrap_or_else(|| std::env::args_os().skip(1).collect());
        let commands: Vec<_> = self.commands.iter().map(|command| command.listed).collect();
        let arguments = match cli::parse(given, &commands) {
            Ok(arguments) => arguments,
            Err(problem) => return cli::usage_error(&problem, &commands),
        };
        let sources = cli::sources(&arguments).with_sources_of(self.sources);
        let check = || Ok(self.telemetry.load(&self.build, &sources)?.0);
        if let Some(code) = cli::answer::<S>(&arguments, &sources, &self.build, &commands, check) {
            return code;
        }
        let is_chosen =
            |command: &Command<S>| arguments.operation == Operation::Command(command.listed.name);
        let code = match self.commands.into_iter().find(is_chosen) {
            Some(command) => command::run(self.build, sources, self.telemetry, command),
            None => process::run(self.build, sources, self.telemetry, self.outer, start),
        };
        code.unwrap_or_else(|error| cli::fatal(&error))
    }

    /// Starts the service inside a test: on the test's runtime, with both listeners on free ports of
    /// localhost, without signal handlers and without a global logger.
    ///
    /// The settings are read from `sources`, in which a test sets the values that it needs:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// use axum::{Router, routing::get};
    /// use axum_chassis::{Service, settings::Sources};
    ///
    /// let service = Service::<()>::new("greeter", "1.0.0");
    /// let routes = async |_| Ok(Router::new().route("/", get("hello")));
    /// let running = service.start(Sources::empty(), routes).await?;
    /// assert!(running.address().port() > 0);
    /// assert!(running.stop().await.is_graceful());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The same errors with which [`Service::run`] would end the process.
    pub async fn start(
        self,
        sources: Sources,
        start: impl AsyncFnOnce(Chassis<S>) -> anyhow::Result<Router>,
    ) -> Result<Running, Error> {
        let sources = ["server", "admin"].into_iter().fold(
            // The platform `terminal` has no `shutdown.delay`, because no proxy has to notice the shutdown.
            sources
                .with_sources_of(self.sources)
                .with_var("APP__SERVICE__PLATFORM", "terminal"),
            |sources, listener| {
                sources
                    .set(format!("{listener}.host"), "127.0.0.1")
                    .set(format!("{listener}.port"), "0")
            },
        );
        process::start(self.build, sources, self.outer, start).await
    }
}

impl<S> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.commands.iter().map(|command| command.listed);
        f.debug_struct("Service")
            .field("build", &self.build)
            .field("arguments", &self.arguments)
            .field("sources", &self.sources)
            .field("commands", &commands.collect::<Vec<_>>())
            .finish()
    }
}

/// A service that runs inside a test. Dropping it starts the graceful shutdown, as SIGTERM does.
#[derive(Debug)]
#[must_use = "dropping it stops the service"]
pub struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    stop: mpsc::UnboundedSender<&'static str>,
    stopped: oneshot::Receiver<Stopped>,
}

impl Running {
    /// The address of the main listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Stops the service as SIGTERM would, and waits until it has stopped.
    pub async fn stop(self) -> Stopped {
        let _ = self.stop.send("test");
        self.stopped().await
    }

    /// Waits until the service has stopped because it called [`Chassis::stop`].
    pub async fn stopped(mut self) -> Stopped {
        // The sender is dropped without a result only if the test's runtime has ended.
        (&mut self.stopped).await.unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This fails if the service has stopped already.
        let _ = self.stop.send("dropped");
    }
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were still open at the deadline, and were aborted.
    pub aborted: usize,
    /// Background tasks, or a command, that still ran at the deadline, and were aborted.
    pub aborted_tasks: usize,
    /// Hooks that failed or timed out.
    pub failed_hooks: usize,
}

impl Stopped {
    /// Whether nothing was aborted and nothing failed.
    pub fn is_graceful(&self) -> bool {
        *self == Self::default()
    }

    /// 0 after a graceful shutdown, otherwise 1.
    pub fn exit_code(self) -> ExitCode {
        if self.is_graceful() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
